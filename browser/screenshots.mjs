// Takes pictures of every page of the console: light, dark, and on a phone.
//
//   node browser/screenshots.mjs FOLDER
import {mkdir} from 'node:fs/promises';
import {join} from 'node:path';
import {Company} from './company.mjs';
import {crawl} from './crawl.mjs';
import {launchBrowser} from './harness.mjs';

const folder = process.argv[2] ?? 'screenshots';
const kinds = {
  light: {viewport: {width: 1280, height: 900}},
  dark: {viewport: {width: 1280, height: 900}, colorScheme: 'dark'},
  phone: {viewport: {width: 375, height: 800}, deviceScaleFactor: 2},
};

const company = new Company();
await company.start();
const browser = await launchBrowser();
try {
  await mkdir(folder, {recursive: true});
  for (const [kind, options] of Object.entries(kinds)) {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    await company.signIn(page, 'ada');
    await crawl(page, company.console, async (page, name) => {
      await page.waitForTimeout(500); // charts draw themselves
      await page.screenshot({path: join(folder, `${name}-${kind}.png`), fullPage: kind !== 'phone'});
    });
    await context.close();
  }
} finally {
  await browser.close();
  await company.stop();
}
