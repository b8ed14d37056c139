// A person deploys 0.0.5, sees it come, pauses, resumes and promotes it, all by clicking, and looks around.
import { accessible, board, expect, reads, run, say, shot, tab } from "./browser.mjs";

async function confirm(page, button) {
  await page.getByLabel("Your name").fill("ann");
  await page.getByLabel("Why").fill("to see it");
  await accessible(page);
  await page.getByRole("button", { name: button, exact: true }).click();
}

run(async () => {
  const page = await tab();
  await page.goto(board);
  await reads(page, "flowcommerce/user");
  await reads(page, "0.0.4: 100%");
  await accessible(page);
  const other = await tab();
  await other.goto(board);

  await page.getByRole("link", { name: "flowcommerce/user" }).click();
  await reads(page, "<not yet available>");
  say("open");
  await page.getByRole("link", { name: "Deploy 0.0.5" }).click();
  await reads(page, "flowcommerce/user:0.0.5 is deployed");
  await confirm(page, "Deploy");
  await reads(page, "flowcommerce/user:0.0.5 deploy is in process");
  await reads(other, "flowcommerce/user:0.0.5 deploy is in process");
  // From its first task on, without a reload.
  await reads(page, "0.0.5: 33%");
  await reads(other, "0.0.5: 33%");
  await reads(page, "Paused by rollout policy");
  await shot(page, "project");
  await shot(other, "board");
  await accessible(page);
  await accessible(other);

  await page.getByRole("link", { name: "Promote", exact: true }).click();
  await confirm(page, "Promote");
  await reads(page, "promote by ann: to see it");
  await page.getByRole("link", { name: "Pause", exact: true }).click();
  await confirm(page, "Pause");
  await reads(page, "Paused by ann");
  await page.getByRole("link", { name: "Resume", exact: true }).click();
  await confirm(page, "Resume");
  await reads(page, "0.0.5 has all traffic");
  await reads(page, "0.0.5: 100%");
  await reads(other, "0.0.5: 100%");
  expect(!(await other.innerText("body")).includes("0.0.4: "), "0.0.4 has no share any more");

  await page.getByRole("link", { name: "2", exact: true }).click();
  await reads(page, "asked for by ann");
  await accessible(page);
  await page.goto(`${board}/-/events?project=user&topic=deployment`);
  await reads(page, "was asked for");
  await reads(page, "to see it");
  await accessible(page);
  await page.goto(`${board}/-/agents`);
  await reads(page, "deployer-1");
  await accessible(page);
});
