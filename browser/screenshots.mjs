// Takes pictures of every page of the console: light, dark, and on a phone. With --docs, the few of docs/console.md.
//
//   node browser/screenshots.mjs [--docs] FOLDER
import {mkdir} from 'node:fs/promises';
import {join} from 'node:path';
import {Company} from './company.mjs';
import {crawl} from './crawl.mjs';
import {launchBrowser} from './harness.mjs';

const args = process.argv.slice(2), docs = args[0] === '--docs';
const folder = args[docs ? 1 : 0] ?? 'screenshots';
const window = {width: 1280, height: 900};
const kinds = {
  light: {viewport: window},
  dark: {viewport: window, colorScheme: 'dark'},
  phone: {viewport: {width: 375, height: 800}},
};
const shown = {
  light: ['overview', 'live', 'decisions-one', 'people-one', 'routes-one', 'policy', 'provisioning-held', 'reviews-one', 'record'],
  dark: ['overview', 'decisions'],
  phone: ['overview'],
};

const company = new Company();
await company.start();
const browser = await launchBrowser();
try {
  await mkdir(folder, {recursive: true});
  for (const user of ['eve', 'grace', 'ada']) { // who have something open
    const page = await (await browser.newContext()).newPage();
    await page.goto(company.wiki + '/live');
    await page.getByRole('button', {name: user, exact: true}).click();
    await page.waitForURL(company.wiki + '/live');
  }
  for (const [kind, options] of Object.entries(kinds)) {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    await company.signIn(page, 'ada');
    await crawl(page, company.console, async (page, name) => {
      if (docs && !shown[kind].includes(name)) return;
      await page.waitForTimeout(500); // charts draw themselves
      await page.screenshot({path: join(folder, docs ? `console-${name}-${kind}.png` : `${name}-${kind}.png`), fullPage: !docs && kind !== 'phone'});
    });
    await context.close();
  }
} finally {
  await browser.close();
  await company.stop();
}
