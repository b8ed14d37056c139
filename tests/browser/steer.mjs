// A person holds, filters, stops the line, goes back and cancels, all by clicking.
import { accessible, board, confirm, expect, reads, run, say, tab } from "./browser.mjs";

/// Waits until the page's text does not hold this any more.
async function loses(page, text) {
  await page.waitForFunction((text) => !document.body.innerText.includes(text), text);
}

run(async () => {
  const page = await tab();
  const list = await tab();
  await list.goto(board);
  await page.goto(`${board}/user`);
  await reads(page, "0.0.4: 100%");

  // A pin to a version that is chosen, and its end.
  await page.getByRole("link", { name: "Pin", exact: true }).click();
  await page.getByLabel("Version").selectOption("0.0.4");
  await confirm(page, "Pin", "until the audit");
  await reads(page, "until the audit");
  await reads(list, "pinned");
  await page.getByRole("link", { name: "Unpin", exact: true }).click();
  await confirm(page, "Unpin");
  await loses(list, "pinned");

  // A version that is in quarantine is let out.
  say("held");
  await reads(page, "quarantined by bob");
  await page.getByRole("link", { name: "Lift it from 0.0.5" }).click();
  await confirm(page, "Lift the quarantine");
  await loses(page, "quarantined by bob");

  // The line is stopped: a banner on every page that is open, and no deployment.
  await list.getByRole("link", { name: "Stop the line", exact: true }).click();
  await confirm(list, "Stop the line", "an incident");
  await reads(list, "The line is stopped");
  await reads(page, "an incident");
  await accessible(list);
  await page.getByRole("link", { name: "Deploy 0.0.5" }).click();
  // The browser itself tells of an answer that refuses.
  page.forgiving = true;
  await confirm(page, "Deploy");
  await page.getByRole("alert").waitFor();
  await reads(page, "an incident");
  await page.getByRole("link", { name: "Leave it" }).click();
  await reads(page, "Releases");
  page.forgiving = false;
  await list.getByRole("link", { name: "Release it" }).click();
  await confirm(list, "Release the line");
  await loses(page, "The line is stopped");

  // What is deployed is cancelled while a part of the traffic is on it, and the old version comes back.
  await page.getByRole("link", { name: "Deploy 0.0.5" }).click();
  await confirm(page, "Deploy");
  await list.locator("select[name=show]").selectOption("being deployed");
  await list.getByRole("button", { name: "Show" }).click();
  await reads(list, "flowcommerce/user:0.0.5 deploy is");
  await reads(list, "0.0.5: 33%");
  await reads(page, "Paused by rollout policy");
  await page.getByRole("link", { name: "Cancel, and roll back" }).click();
  await confirm(page, "Cancel, and roll back", "it leaks");
  await reads(page, "Way back");
  await reads(page, "cancelled by ann: it leaks");
  await reads(page, "0.0.4: 100%");
  // The list that shows what is being deployed empties by itself.
  await reads(list, "No project fits");
  await list.getByRole("link", { name: "Show all" }).click();
  await list.getByLabel("Name contains").fill("nobody");
  await list.getByRole("button", { name: "Show" }).click();
  await reads(list, "No project fits");
  await list.getByLabel("Name contains").fill("FLOW");
  await list.getByRole("button", { name: "Show" }).click();
  await reads(list, "0.0.4: 100%");
  expect(list.url().includes("q=FLOW"), `the filter is in the address: ${list.url()}`);

  // Back goes only what has served; what is refused is told where it was asked.
  await page.getByRole("link", { name: "Roll back", exact: true }).click();
  const versions = await page.getByLabel("Version").locator("option").allInnerTexts();
  expect(versions.join(", ") === "the release before the current one, 0.0.4", versions.join(", "));
  page.forgiving = true;
  await confirm(page, "Roll back");
  await page.getByRole("alert").waitFor();
});
