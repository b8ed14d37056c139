// A person deploys 0.0.5, sees it come, pauses, resumes and promotes it, all by clicking, and looks around.
import { accessible, board, confirm, expect, reads, run, say, shot, tab } from "./browser.mjs";

run(async () => {
  const page = await tab();
  await page.goto(board);
  await reads(page, "flowcommerce/user");
  await reads(page, "0.0.4: 100%");
  await accessible(page);
  const other = await tab();
  await other.goto(board);
  const events = await tab();
  await events.goto(`${board}/-/events?project=user&topic=deployment`);
  const agents = await tab();
  await agents.goto(`${board}/-/agents`);
  await reads(agents, "0 deployments");

  await page.getByRole("link", { name: "flowcommerce/user" }).click();
  await reads(page, "<not yet available>");
  say("open");
  await page.getByRole("link", { name: "Deploy 0.0.5" }).click();
  await reads(page, "flowcommerce/user:0.0.5 is deployed");
  await confirm(page, "Deploy");
  // From its first task on, without a reload. Only what stays until something is clicked is waited for: what passes by
  // may have done so before a slow machine looks.
  await reads(page, "flowcommerce/user:0.0.5 deploy is");
  await reads(other, "flowcommerce/user:0.0.5 deploy is");
  await reads(page, "0.0.5: 33%");
  await reads(other, "0.0.5: 33%");
  await reads(page, "Paused by rollout policy");
  // So are the other pages that were open.
  await reads(events, "was asked for");
  await reads(agents, "1 deployment");
  await shot(page, "project");
  await shot(other, "board");
  await accessible(page);
  await accessible(other);

  await page.getByRole("link", { name: "Promote", exact: true }).click();
  await confirm(page, "Promote");
  await reads(page, "promote by ann: to see it");
  await page.locator("#latest").getByText("promoted past step").waitFor();
  // It bakes now, for longer than this takes.
  await reads(page, "0.0.5: 67%");
  await page.getByRole("link", { name: "Pause", exact: true }).click();
  await confirm(page, "Pause");
  await reads(page, "Paused by ann");
  await page.getByRole("link", { name: "Resume", exact: true }).click();
  await confirm(page, "Resume");
  await reads(page, "resume by ann: to see it");
  await page.getByRole("link", { name: "Promote", exact: true }).click();
  await confirm(page, "Promote");
  await reads(page, "0.0.5 has all traffic");
  await reads(page, "0.0.5: 100%");
  await reads(other, "0.0.5: 100%");
  expect(!(await other.innerText("body")).includes("0.0.4: "), "0.0.4 has no share any more");

  await page.getByRole("link", { name: "2", exact: true }).click();
  await reads(page, "asked for by ann");
  await accessible(page);
  // Links that stay: a step, an event, a release.
  await page.locator("#step-1 a.quiet").click();
  expect((await page.locator("li:target").count()) === 1, "the step has a place");
  await reads(events, "0.0.5: succeeded");
  await accessible(events);
  await events.locator("tr", { hasText: "was asked for" }).first().locator("a.quiet").click();
  await reads(events, "The latest");
  expect((await events.locator("tr:target", { hasText: "was asked for" }).count()) === 1, "the event has a place");
  await page.goto(`${board}/user/releases`);
  await page.getByRole("link", { name: "0.0.4", exact: true }).click();
  expect((await page.locator("tr:target", { hasText: "flowcommerce/user:0.0.4" }).count()) === 1, "a release has a place");
  await accessible(page);
  await page.goto(`${board}/user/deployments`);
  await page.getByRole("link", { name: "1", exact: true }).waitFor();
  await accessible(page);
  await reads(agents, "0 deployments");
  await reads(agents, "deployer-1");
  await accessible(agents);
});
