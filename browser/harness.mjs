// Runs a browser and programs for the tests beside this file.
//   SALLYPORT  the binary; without it, go run builds one
//   CHROMIUM   the browser; default /usr/bin/chromium
import {spawn} from 'node:child_process';
import {fileURLToPath} from 'node:url';
import {chromium} from 'playwright-core';

export const patience = 30_000; // of a person before a busy machine

// launchBrowser starts Chromium, with further flags.
export const launchBrowser = (...flags) => chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: [
    ...(process.getuid() === 0 ? ['--no-sandbox'] : []), // Chromium's sandbox does not work for root
    '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', ...flags,
  ],
});

// newPerson opens a browser context with its own cookies.
export async function newPerson(t, browser, options = {}) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(patience);
  t.after(() => context.close());
  return context;
}

// spawnSallyport runs a verb of sallyport.
export function spawnSallyport(verb, ...args) {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const [command, ...before] = process.env.SALLYPORT ? [process.env.SALLYPORT] : ['go', 'run', './cmd/sallyport'];
  return spawn(command, [...before, verb, ...args], {cwd: root, stdio: ['ignore', 'pipe', 'pipe']});
}

// finish waits for the end of a program and returns what it printed.
export function finish(child) {
  let out = '', err = '';
  child.stdout.on('data', data => out += data);
  child.stderr.on('data', data => err += data);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', code => code === 0 ? resolve(out) : reject(new Error(`${child.spawnargs.join(' ')} ended with ${code}:\n${out}${err}`)));
  });
}

// stop ends a program, by force after five seconds.
export async function stop(child) {
  if (!child || child.exitCode !== null) return;
  const ended = new Promise(resolve => child.once('exit', resolve));
  child.kill('SIGTERM');
  await Promise.race([ended, new Promise(resolve => setTimeout(resolve, 5_000).unref())]);
  child.kill('SIGKILL');
}

// arrived waits until a page is where it should be. Its error says where the page is, and what it shows.
export async function arrived(page, where) {
  try {
    await page.waitForURL(where);
  } catch (err) {
    const text = await page.locator('body').innerText({timeout: 1000}).catch(reason => String(reason));
    throw new Error(`${err.message}\nThe page is at ${page.url()} and says: ${text.slice(0, 1000)}`, {cause: err});
  }
}
