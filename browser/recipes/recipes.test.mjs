// Runs the applications of docs/recipes behind Sallyport, with the files of examples/recipes, and looks at them as a person
// does. ./test.sh recipes installs them into the folder that RECIPES names. Each test signs in, is denied as somebody who is
// not in the group, tries the application beside Sallyport, and is cut when SCIM deactivates the person.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {randomBytes} from 'node:crypto';
import {copyFileSync, existsSync, mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {test} from 'node:test';
import {runNotebook} from './jupyterlab.mjs';
import {examples, openSocket, Recipe} from './recipe.mjs';

const installed = process.env.RECIPES;
const patient = 90_000; // applications load long on a busy machine

// recipe runs the recipe of that name, with the checks that all recipes share around its own.
function recipe(name, {variant = '', upstream, authorization, edits = [], start, address, check, beside}) {
  test(name + variant, {timeout: 300_000}, async t => {
    const r = new Recipe(name, upstream, authorization, ...edits);
    t.after(() => r.stop());
    try {
      await r.start(start);
      const eve = await r.open(t, 'eve', address);
      assert.equal(eve.arrived.status(), 403, 'eve is in no group');
      const page = await r.open(t, 'ada', address);
      assert.equal(page.arrived.status(), 200);
      const socket = await check(r, page, t);
      if (beside) await beside(`http://127.0.0.1:${r.port}`, r);
      const closed = socket && (socket.isClosed() || socket.waitForEvent('close', {timeout: 30_000}));
      await r.deactivate();
      await closed;
      assert.equal((await page.goto(address)).status(), 403, 'ada has left');
    } catch (err) {
      t.diagnostic(r.log.slice(-4000));
      throw err;
    }
  });
}

const jupyterToken = randomBytes(24).toString('hex');
const jupyter = (r, ...flags) => ({
  command: join(installed, 'jupyterlab/bin/jupyter'),
  args: ['lab', `--config=${join(examples, 'jupyter_server_config.py')}`, `--port=${r.port}`, '--ServerApp.port_retries=0', ...flags, ...(process.getuid() === 0 ? ['--allow-root'] : [])],
  env: {JUPYTER_TOKEN: jupyterToken},
});
recipe('jupyterlab', {
  upstream: 'http://127.0.0.1:8888',
  authorization: 'token ' + jupyterToken,
  start: r => jupyter(r),
  address: 'https://jupyter.example.com/',
  async check(r, page) {
    await runNotebook(page);
    const me = await page.evaluate(() => fetch('/api/me').then(r => r.json()));
    assert.equal(me.identity.username, 'ada');
    assert.deepEqual((await page.context().cookies('https://jupyter.example.com')).map(cookie => cookie.name).filter(name => name.startsWith('username-')), []);
    return openSocket(page, '/api/kernels/');
  },
  async beside(origin) {
    for (const headers of [{}, {'X-Forwarded-User': 'ada'}, {Authorization: 'token wrong', 'X-Forwarded-User': 'ada'}]) {
      assert.equal((await fetch(origin + '/api/contents', {headers})).status, 403);
    }
    assert.equal((await fetch(origin + '/api/contents', {headers: {Authorization: 'token ' + jupyterToken}})).status, 403, 'the token alone names nobody');
  },
});

recipe('jupyterlab', {
  variant: ' below a path',
  upstream: 'http://127.0.0.1:8888',
  authorization: 'token ' + jupyterToken,
  edits: [['host: jupyter.example.com', 'host: tools.example.com\n    path: /jupyter']],
  start: r => jupyter(r, '--ServerApp.base_url=/jupyter/', '--ServerApp.local_hostnames=tools.example.com'),
  address: 'https://tools.example.com/jupyter/',
  async check(r, page) {
    await runNotebook(page);
    return openSocket(page, '/jupyter/api/kernels/');
  },
});

// nodeRED starts Node-RED with one flow, and settings beside those of the example.
function nodeRED(r, settings = {}) {
  copyFileSync(join(examples, 'node-red-settings.js'), join(r.folder, 'example.js'));
  writeFileSync(join(r.folder, 'settings.js'), `module.exports = {...require('./example.js'), ...${JSON.stringify(settings)}};`);
  const flow = [{id: 'tab', type: 'tab', label: 'Flow'}, {id: 'in', z: 'tab', type: 'http in', url: '/hello', method: 'get', wires: [['out']], x: 1, y: 1}, {id: 'out', z: 'tab', type: 'http response', wires: [], x: 9, y: 1}];
  writeFileSync(join(r.folder, 'flows.json'), JSON.stringify(flow));
  return {command: join(installed, 'node-red/node_modules/.bin/node-red'), args: ['--userDir', r.folder], env: {PORT: String(r.port), SALLYPORT_KEYS: r.keySet}};
}
recipe('node-red', {
  upstream: 'http://127.0.0.1:1880',
  start: r => nodeRED(r),
  address: 'https://flows.example.com/',
  async check(r, page) {
    await page.locator('#red-ui-palette-container .red-ui-palette-node').first().waitFor({timeout: patient});
    assert.equal((await page.evaluate(() => fetch('settings').then(r => r.json()))).user.username, 'ada');
    assert.equal((await page.evaluate(() => fetch('hello').then(r => r.status))), 200);
    return openSocket(page, '/comms');
  },
  async beside(origin) {
    const forged = ['{"alg":"none"}', '{"iss":"https://login.example.com","aud":"flows","exp":9999999999,"nbf":0,"preferred_username":"ada"}', ''].map(part => Buffer.from(part).toString('base64url')).join('.');
    for (const headers of [{}, {'X-Forwarded-User': 'ada'}, {'X-Sallyport-Assertion': forged}, {'X-Sallyport-Assertion': 'a.b.c'}]) {
      for (const path of ['/flows', '/settings', '/hello']) assert.equal((await fetch(origin + path, {headers})).status, 401, path);
    }
    const socket = new WebSocket(origin.replace('http', 'ws') + '/comms');
    const said = await new Promise(resolve => {
      socket.onopen = () => socket.send('{"subscribe":"#"}');
      socket.onmessage = event => resolve(event.data);
      socket.onclose = () => resolve('closed');
      socket.onerror = () => resolve('refused');
    });
    socket.close();
    assert.ok(['closed', 'refused', '{"auth":"fail"}'].includes(said), said);
  },
});

recipe('node-red', {
  variant: ' below a path',
  upstream: 'http://127.0.0.1:1880',
  edits: [['host: flows.example.com', 'host: tools.example.com\n    path: /flows']],
  start: r => nodeRED(r, {httpAdminRoot: '/flows', httpNodeRoot: '/flows'}),
  address: 'https://tools.example.com/flows/',
  async check(r, page) {
    await page.locator('#red-ui-palette-container .red-ui-palette-node').first().waitFor({timeout: patient});
    assert.equal((await page.evaluate(() => fetch('hello').then(r => r.status))), 200);
    return openSocket(page, '/flows/comms');
  },
});

const prometheusPassword = randomBytes(24).toString('hex');
recipe('prometheus', {
  upstream: 'http://127.0.0.1:9090',
  authorization: 'Basic ' + Buffer.from('sallyport:' + prometheusPassword).toString('base64'),
  start: r => {
    const hash = execFileSync('htpasswd', ['-niBC', '10', 'sallyport'], {input: prometheusPassword}).toString().trim().replace('sallyport:', '');
    writeFileSync(join(r.folder, 'web.yml'), `basic_auth_users:\n  sallyport: ${hash}\n`);
    writeFileSync(join(r.folder, 'prometheus.yml'), 'global: {scrape_interval: 15s}\n');
    return {command: process.env.PROMETHEUS || 'prometheus', args: ['--config.file=prometheus.yml', '--web.config.file=web.yml', `--web.listen-address=127.0.0.1:${r.port}`,
      '--web.external-url=https://tools.example.com/prometheus', '--storage.tsdb.path=tsdb']};
  },
  address: 'https://tools.example.com/prometheus/',
  async check(r, page) {
    await page.getByText('Prometheus').first().waitFor({timeout: patient});
    const asked = await page.evaluate(() => fetch('/prometheus/api/v1/query?query=vector(42)').then(r => r.json()));
    assert.equal(asked.data.result[0].value[1], '42');
  },
  async beside(origin) {
    for (const headers of [{}, {'X-Forwarded-User': 'ada'}]) assert.equal((await fetch(origin + '/prometheus/api/v1/query?query=1', {headers})).status, 401);
  },
});

const codeServer = join(installed, 'code-server/node_modules/.bin/code-server');
if (existsSync(codeServer)) {
  recipe('code-server', {
    upstream: 'http://127.0.0.1:8080',
    start: r => {
      mkdirSync(join(r.folder, 'work'));
      writeFileSync(join(r.folder, 'work/notes.txt'), 'notes of ada');
      return {command: codeServer, args: ['--auth', 'none', '--bind-addr', `127.0.0.1:${r.port}`, '--disable-telemetry', '--disable-update-check', '--disable-workspace-trust', join(r.folder, 'work')],
        env: {}};
    },
    address: 'https://code.example.com/',
    async check(r, page, t) {
      await page.getByText('notes.txt').first().waitFor({timeout: patient});
      const below = await r.open(t, 'ada', 'https://tools.example.com/code/');
      await below.getByText('notes.txt').first().waitFor({timeout: patient});
      await openSocket(below, '/code/');
      return openSocket(page, '/');
    },
  });
}
