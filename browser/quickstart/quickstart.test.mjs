// Runs the commands of docs/quickstart.md in the order of the page, in a home folder that is empty, and looks at the
// result as a person does. ./test.sh quickstart installs what the page says must be there.
import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {mkdir, mkdtemp, readFile, rm, stat, writeFile} from 'node:fs/promises';
import {connect} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {after, before, test} from 'node:test';
import {fileURLToPath} from 'node:url';
import {launchBrowser, newPerson} from '../harness.mjs';
import {runNotebook} from '../recipes/jupyterlab.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const application = 'http://jupyter.localhost:7080/';
const ports = [7080, 7081, 7082, 7083, 7180];
const end = 'the block has ended';
let home, shell, sections, browser, undone;

before(async () => {
  sections = sectionsOf(await readFile(join(root, 'docs/quickstart.md'), 'utf8'));
  for (const port of ports) assert.ok(!await listens(port), `another program listens at port ${port}, which the page uses`);
  home = await mkdtemp(join(tmpdir(), 'sallyport-quickstart-'));
  shell = openShell();
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  if (!undone) await run('Undo everything').catch(() => {});
  shell?.kill();
  if (home) await rm(home, {recursive: true, force: true});
});

// sectionsOf returns the blocks of commands below each heading of the page.
function sectionsOf(page) {
  const found = new Map();
  for (const section of page.split(/^## /m).slice(1)) {
    const [heading] = section.split('\n', 1);
    found.set(heading, [...section.matchAll(/^```sh\n(.*?)^```$/gms)].map(block => block[1]));
  }
  return found;
}

// openShell starts the shell that the blocks are pasted into. It says which command failed, and goes on, as a terminal does.
function openShell() {
  const env = {...process.env, HOME: home};
  if (process.getuid() === 0) env.JUPYTER_CONFIG_PATH = join(home, 'allow-root'); // JupyterLab refuses root, which CI is
  const child = spawn('bash', ['--norc'], {cwd: root, env, stdio: ['pipe', 'pipe', 'pipe']});
  child.stdin.write(`set -E -o pipefail; trap 'echo "failed: $BASH_COMMAND"' ERR\n`);
  return child;
}

// paste runs one block, and returns what it printed.
function paste(block) {
  return new Promise((resolve, reject) => {
    let said = '';
    const hear = data => {
      said += data;
      if (!said.includes(end + '\n')) return;
      forget();
      resolve(said.replace(end + '\n', ''));
    };
    const ended = () => { forget(); reject(new Error(`the shell ended:\n${said}`)); };
    const forget = () => { shell.stdout.off('data', hear); shell.stderr.off('data', hear); shell.off('exit', ended); };
    shell.stdout.on('data', hear);
    shell.stderr.on('data', hear);
    shell.on('exit', ended);
    shell.stdin.write(`${block}\necho '${end}'\n`);
  });
}

// run runs all blocks below a heading. Commands that match tolerated may fail.
async function run(heading, tolerated) {
  assert.ok(sections.get(heading)?.length, `the page has no commands below "${heading}"`);
  let said = '';
  for (const block of sections.get(heading)) said += await paste(block);
  const failed = said.split('\n').filter(line => line.startsWith('failed: ') && !tolerated?.test(line));
  assert.deepEqual(failed, [], said);
  return said;
}

const listens = port => new Promise(resolve => {
  const socket = connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true); });
  socket.on('error', () => resolve(false));
});

async function signIn(page, user) {
  await page.goto(application);
  await page.locator('#username').fill(user);
  await page.locator('#password').fill(user);
  await page.locator('#kc-login').click();
}

const steps = ['1. Build Sallyport', '2. Start Keycloak, which signs people in', '3. Start JupyterLab, the application',
  '4. Start Sallyport in front', '5. Push two people and a group by SCIM'];

test('the page has no commands but those that this test runs', () => {
  const run = [...steps, '7. Ada leaves', 'Undo everything'];
  assert.deepEqual([...sections].filter(([, blocks]) => blocks.length).map(([heading]) => heading), run);
});

for (const heading of steps) {
  test(heading, {timeout: 900_000}, async t => {
    if (heading.startsWith('3.') && process.getuid() === 0) await allowRoot();
    t.diagnostic(await run(heading, /explain/)); // explain exits with 2 for somebody who is denied
  });
}

async function allowRoot() {
  await mkdir(join(home, 'allow-root'), {recursive: true});
  await writeFile(join(home, 'allow-root/jupyter_server_config.json'), '{"ServerApp": {"allow_root": true}}');
}

test('Ada runs a kernel until she leaves, Grace is denied, nobody gets past Sallyport', {timeout: 300_000}, async t => {
  const context = await newPerson(t, browser);
  const page = await context.newPage();
  const sockets = [];
  page.on('websocket', socket => sockets.push(socket));
  await signIn(page, 'ada');
  await runNotebook(page);
  const kernel = sockets.find(socket => socket.url().includes('/api/kernels/') && !socket.isClosed());
  assert.ok(kernel, 'the kernel runs over a WebSocket');

  const grace = await (await newPerson(t, browser)).newPage();
  await signIn(grace, 'grace');
  await grace.getByText('research@example.com').waitFor();
  const aside = await fetch('http://127.0.0.1:7083/api/contents', {headers: {'X-Forwarded-User': 'ada'}});
  assert.equal(aside.status, 403, 'JupyterLab itself lets nobody in without the token');

  const closed = kernel.waitForEvent('close', {timeout: 30_000});
  const said = await run('7. Ada leaves');
  await closed;
  t.diagnostic(said);
  assert.match(said, /"cuts": [1-9]/, 'the receipt says what was cut');
  const again = await page.goto(application);
  assert.equal(again.status(), 403);
  assert.equal(await page.locator('.jp-Launcher').count(), 0);
  const beside = await page.goto('http://jupyter.localhost:7083/api/contents'); // cookies are valid at every port of a host
  assert.equal(beside.status(), 403, 'nothing that she got before lets her in beside Sallyport');
});

test('Undo everything', {timeout: 120_000}, async () => {
  await run('Undo everything', /pkill/); // there are no children where the shell's place was taken
  undone = true;
  await assert.rejects(stat(join(home, 'sallyport-quickstart')), {code: 'ENOENT'});
  for (const port of ports) {
    while (await listens(port)) await new Promise(resolve => setTimeout(resolve, 200));
  }
});
