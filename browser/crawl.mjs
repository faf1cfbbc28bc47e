// Finds the pages of the console by following their links: of pages that differ in an id alone, the first.
import {createRequire} from 'node:module';
import {readFile} from 'node:fs/promises';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

// shapeOf returns what pages have in common that differ in an id alone.
function shapeOf(url) {
  const words = new Set(['overview', 'live', 'decisions', 'people', 'groups', 'routes', 'policy', 'provisioning', 'requests', 'reviews', 'record', 'configuration', 'search',
    'tokens', 'held', 'drift', 'why', 'receipts', 'grants', 'try', 'new', 'history', 'pushes', 'raw', 'sessions']);
  return url.pathname.split('/').slice(3).map(part => part === '' || words.has(part) ? part : '*').join('/');
}

// crawl opens every page of the console that the links of others lead to, and calls each(page, name) with it.
export async function crawl(page, root, each) {
  const waiting = [root + '/'], seen = new Set(), errors = [];
  page.on('console', message => { if (message.type() === 'error') errors.push(`${page.url()}: ${message.text()}`); });
  page.on('pageerror', error => errors.push(`${page.url()}: ${error}`));
  while (waiting.length > 0) {
    const address = new URL(waiting.shift());
    const shape = shapeOf(address);
    if (seen.has(shape)) continue;
    seen.add(shape);
    const response = await page.goto(address.href, {waitUntil: 'load'}).catch(err => {
      if (!err.message.includes('Download is starting')) throw err;
    });
    if (!response) continue; // a file to keep
    await each(page, shape.replaceAll('/', '-').replaceAll('*', 'one').replace(/-$/, '') || 'overview', response);
    waiting.push(...await page.locator('a[href]').evaluateAll((links, root) => links.filter(a => a.href.startsWith(root + '/') && !a.hasAttribute('download')
      && !/[?&]format=/.test(a.href) && !a.pathname.includes('/static/')).map(a => a.href.replace(/#.*/, '')), root));
  }
  return {pages: [...seen], errors};
}

// violations returns what axe finds on a page against rules: without any, those of WCAG 2.2 AA.
export async function violations(page, rules) {
  await page.evaluate(axe);
  const {violations} = await page.evaluate(rules => window.axe.run({runOnly: rules ?? ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']}), rules);
  return violations.flatMap(v => v.nodes.map(node => `${v.id}: ${v.help}: ${node.html.slice(0, 200)} ${node.any.map(a => a.message).join('; ')}`));
}

// hidden returns how many pixels of the widest table of a page can be seen by scrolling alone.
export const hidden = page => page.evaluate(() => Math.max(0, ...[...document.querySelectorAll('.scroll')].filter(e => e.checkVisibility()).map(e => e.scrollWidth - e.clientWidth)));

// overflow returns how many pixels a page is wider than its window.
export const overflow = page => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
