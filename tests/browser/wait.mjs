// Pages that are left open while the server dies and comes again, and go on by themselves.
import { board, reads, run, say, tab } from "./browser.mjs";

run(async () => {
  const list = await tab();
  const project = await tab();
  await list.goto(board);
  await project.goto(`${board}/user`);
  await reads(list, "0.0.4: 100%");
  await reads(project, "0.0.4: 100%");
  // The browser itself tells of every connection that is refused.
  list.forgiving = true;
  project.forgiving = true;
  say("open");
  await reads(list, "frozen while nobody looked");
  await reads(project, "frozen while nobody looked");
});
