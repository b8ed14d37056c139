// Pages that are left open while the server dies and comes again, and go on by themselves.
import { board, expect, reads, run, say, tab } from "./browser.mjs";

run(async () => {
  const list = await tab();
  const project = await tab();
  await list.goto(board);
  await project.goto(`${board}/user`);
  // A page whose first stream is refused is to try again like any other.
  const refused = await tab();
  refused.forgiving = true;
  let refusals = 0;
  await refused.route("**/-/stream", (route) => (refusals++ === 0 ? route.abort() : route.continue()));
  await refused.goto(`${board}/user`);
  // Scripts that come one after the other, slowly.
  const slow = await tab();
  let scripts = 0;
  await slow.route("**/*.js*", async (route) => {
    await new Promise((done) => setTimeout(done, 500 * ++scripts));
    await route.continue();
  });
  await slow.goto(board);
  await reads(list, "0.0.4: 100%");
  await reads(project, "0.0.4: 100%");
  // The browser itself tells of every connection that is refused.
  list.forgiving = true;
  project.forgiving = true;
  slow.forgiving = true;
  say("open");
  await reads(list, "frozen while nobody looked");
  await reads(project, "frozen while nobody looked");
  await reads(refused, "frozen while nobody looked");
  await reads(slow, "frozen while nobody looked");
  expect(refusals > 0, "no stream was refused");
});
