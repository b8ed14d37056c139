// The board without scripts, in the dark, on a phone, and by the keyboard alone.
import { accessible, board, reads, run, shot, tab, tabTo } from "./browser.mjs";

run(async () => {
  const plain = await tab({ javaScriptEnabled: false });
  await plain.goto(board);
  await plain.getByRole("link", { name: "flowcommerce/user" }).click();
  await plain.getByRole("link", { name: "Freeze" }).click();
  await plain.getByLabel("Your name").fill("ann");
  await plain.getByLabel("Why").fill("holidays");
  await plain.getByRole("button", { name: "Freeze" }).click();
  await plain.getByText("flowcommerce/user is frozen").first().waitFor();
  await plain.getByRole("link", { name: "Thaw" }).waitFor();

  for (const [name, settings] of [
    ["dark", { colorScheme: "dark" }],
    ["phone", { viewport: { width: 380, height: 800 } }],
  ]) {
    const page = await tab(settings);
    await page.goto(board);
    await reads(page, "0.0.4: 100%");
    await accessible(page);
    await shot(page, `board-${name}`);
    await page.goto(`${board}/user`);
    await reads(page, "Releases");
    await accessible(page);
    await shot(page, `project-${name}`);
  }

  // Whoever presses Tab, Enter and letters can do everything.
  const keys = await tab();
  await keys.goto(board);
  await reads(keys, "flowcommerce/user");
  await tabTo(keys, "flowcommerce/user");
  await keys.keyboard.press("Enter");
  await reads(keys, "Releases");
  for (const [link, says, done] of [
    ["Thaw", "may be deployed again", "Freeze"],
    ["Deploy 0.0.5", "is deployed to production", "Paused by rollout policy"],
    ["Promote to the end", "waits for nothing any more", "0.0.5: 100%"],
  ]) {
    await tabTo(keys, link);
    await keys.keyboard.press("Enter");
    await reads(keys, says);
    await tabTo(keys, "Your name");
    await keys.keyboard.press("ControlOrMeta+A");
    await keys.keyboard.type("bob");
    await tabTo(keys, "Why");
    await keys.keyboard.type("without a mouse");
    await keys.keyboard.press("Enter");
    await reads(keys, done);
  }
});
