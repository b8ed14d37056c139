// What the scripts have in common: a browser, and what is a fault of any page.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const modules = createRequire(`${process.env.MODULES}/`);
const { chromium } = modules("playwright-core");
const axe = readFileSync(modules.resolve("axe-core/axe.min.js"), "utf8");
export const board = process.env.BOARD;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--no-sandbox", "--disable-quic", "--disable-background-networking"],
});

export const complaints = [];

/// A tab. What the browser complains of in it is kept, unless `forgiving` says that the server is away.
export async function tab(settings = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...settings });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.forgiving = false;
  page.on("console", (message) => {
    if (message.type() === "error" && !page.forgiving) complaints.push(`${page.url()}: ${message.text()}`);
  });
  // What its streams went through, for a failure.
  await page.addInitScript(() => {
    window.streamed = [];
    for (const what of ["before:connection", "after:connection", "error", "close"]) {
      document.addEventListener(`htmx:sse:${what}`, ({ detail }) => {
        const { connection, error } = detail ?? {};
        const at = Math.round(performance.now());
        window.streamed.push(`${at} ms: ${what}, attempt ${connection?.attempt}, ${error ?? ""} ${detail?.reason ?? ""}`);
      });
    }
    document.addEventListener("visibilitychange", () => window.streamed.push(`hidden: ${document.hidden}`));
  });
  page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error}`));
  return page;
}

export function say(line) {
  console.log(line);
}

export function expect(holds, what) {
  if (!holds) throw new Error(what);
}

/// Waits until the page's text holds this.
export async function reads(page, text) {
  try {
    await page.waitForFunction((text) => document.body.innerText.includes(text), text);
  } catch (error) {
    const streamed = (await page.evaluate(() => window.streamed.slice(-20))).join("\n");
    const body = await page.innerText("body");
    throw new Error(`${page.url()} never reads ${JSON.stringify(text)}:\n${body}\nits streams:\n${streamed}`);
  }
}

/// No serious fault for people who see, hear or move otherwise, and nothing that is wider than the screen.
export async function accessible(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  const told = serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  expect(serious.length === 0, `${page.url()}: ${told.join("\n")}`);
  const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  expect(wide <= screen, `${page.url()} is ${wide} wide on a screen of ${screen}`);
}

/// Says who does it and why, and does it.
export async function confirm(page, button, why = "to see it") {
  await page.getByLabel("Your name").fill("ann");
  await page.getByLabel("Why").fill(why);
  await accessible(page);
  await page.getByRole("button", { name: button, exact: true }).click();
}

export async function shot(page, name) {
  await page.screenshot({ path: `${process.env.SCREENSHOTS}/${name}.png`, fullPage: true });
}

/// Presses Tab until something with this text, or with a label that begins so, has the focus.
export async function tabTo(page, text) {
  for (let presses = 0; presses < 120; presses += 1) {
    await page.keyboard.press("Tab");
    const [own, label] = await page.evaluate(() => {
      const { activeElement } = document;
      return [activeElement?.innerText ?? "", activeElement?.labels?.[0]?.innerText ?? ""];
    });
    // What is only heard stands in a line of its own.
    if (own.replace(/\s+/g, " ").trim() === text || label.trim().startsWith(text)) return;
  }
  throw new Error(`no Tab leads to ${JSON.stringify(text)}`);
}

/// Runs a script to its end.
export async function run(script) {
  try {
    await script();
    expect(complaints.length === 0, `the browser complains: ${complaints.join("\n")}`);
    say("done");
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  } finally {
    await browser.close();
  }
}
