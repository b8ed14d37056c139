// A picture of a terminal, whose screen is a page.
import { readFileSync } from "node:fs";
import { run, tab } from "./browser.mjs";

run(async () => {
  const page = await tab({ deviceScaleFactor: 2 });
  await page.setContent(readFileSync(`${process.env.SCREENSHOTS}/terminal.html`, "utf8"));
  await page.locator("pre").screenshot({ path: `${process.env.SCREENSHOTS}/terminal.png` });
});
