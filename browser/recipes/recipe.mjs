// Runs one of examples/recipes: the application, a Sallyport with that very file but for addresses and secrets, a provider
// whose people are pushed, and a browser that finds every *.example.com there.
import {execFile, spawn} from 'node:child_process';
import {chmod, mkdir, mkdtemp, readFile, rm, writeFile} from 'node:fs/promises';
import {request} from 'node:https';
import {createServer} from 'node:http';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {promisify} from 'node:util';
import {finish, launchBrowser, patience, spawnSallyport, stop} from '../harness.mjs';
import {Provider} from '../provider.mjs';
import {freePorts} from '../world.mjs';

export const examples = fileURLToPath(new URL('../../examples/recipes/', import.meta.url));

export class Recipe {
  provider = new Provider();
  log = '';

  // from reads the recipe of that name. upstream is where the application listens in the file, authorization is what the file
  // secrets/authorization holds, and edits replace more of the recipe.
  constructor(name, upstream, authorization, ...edits) {
    Object.assign(this, {name, upstream, authorization, edits});
  }

  async start(startApplication) {
    this.folder = await mkdtemp(join(tmpdir(), `sallyport-${this.name}-`));
    await this.provider.listen();
    [this.public, this.scim, this.ops, this.port] = await freePorts(4);
    await this.makeFiles();
    await this.serveKeys();
    const application = startApplication(this);
    this.application = spawn(application.command, application.args, {cwd: this.folder, env: {...process.env, HOME: this.folder, PATH: dirname(process.execPath) + ':' + process.env.PATH, ...application.env}, stdio: ['ignore', 'pipe', 'pipe']});
    this.hear(this.application);
    const file = join(this.folder, 'sallyport.yaml');
    this.sallyport = spawnSallyport('serve', '--init', '-c', file);
    this.hear(this.sallyport);
    await this.responds(`http://127.0.0.1:${this.ops}/readyz`, this.sallyport);
    const {token} = JSON.parse(await finish(spawnSallyport('token', 'create', 'test', '-o', 'json', '-c', file)));
    this.token = token;
    await this.pushPeople();
    await this.responds(`http://127.0.0.1:${this.port}/`, this.application);
    this.browser = await launchBrowser(`--host-resolver-rules=MAP *.example.com 127.0.0.1:${this.public}`);
  }

  async makeFiles() {
    await mkdir(join(this.folder, 'secrets'));
    await writeFile(join(this.folder, 'secrets/oidc'), this.provider.client.secret);
    if (this.authorization) await writeFile(join(this.folder, 'secrets/authorization'), this.authorization + '\n');
    await promisify(execFile)('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1', '-subj', '/CN=example.com',
      '-addext', 'subjectAltName=DNS:*.example.com', '-keyout', join(this.folder, 'tls.key'), '-out', join(this.folder, 'tls.crt')]);
    await chmod(join(this.folder, 'tls.key'), 0o600);
    this.certificate = await readFile(join(this.folder, 'tls.crt'));
    let text = await readFile(join(examples, this.name + '.yaml'), 'utf8');
    this.group = /id: ([0-9a-f-]{36})/.exec(text)?.[1];
    const local = [['0.0.0.0:443', `127.0.0.1:${this.public}`], ['0.0.0.0:8444', `127.0.0.1:${this.scim}`], ['127.0.0.1:9091', `127.0.0.1:${this.ops}`],
      ['https://id.example.com', this.provider.issuer], [this.upstream, `http://127.0.0.1:${this.port}`], ...this.edits];
    for (const [before, after] of local) {
      if (!text.includes(before)) throw new Error(`${this.name}.yaml has no ${before}`);
      text = text.replaceAll(before, after);
    }
    await writeFile(join(this.folder, 'sallyport.yaml'), text, {mode: 0o600});
  }

  // serveKeys serves the keys of the assertion over plain HTTP, to applications that cannot resolve login.example.com here.
  async serveKeys() {
    this.keys = createServer((_, res) => this.call(this.public, 'GET', '/.sallyport/jwks.json').then(({body}) => res.end(body), err => res.writeHead(502).end(String(err))));
    await new Promise(resolve => this.keys.listen(0, '127.0.0.1', resolve));
    this.keySet = `http://127.0.0.1:${this.keys.address().port}/`;
  }

  hear(child) {
    child.stdout.on('data', data => this.log += data);
    child.stderr.on('data', data => this.log += data);
    child.on('error', err => this.log += err);
  }

  // responds waits until there is any response.
  async responds(url, child) {
    while (!await fetch(url, {redirect: 'manual'}).then(r => r.status < 500, () => false)) {
      if (child.exitCode !== null || child.pid === undefined) throw new Error(`${child.spawnfile} ended with ${child.exitCode}:\n${this.log}`);
      await new Promise(resolve => setTimeout(resolve, 100));
    }
  }

  // call sends a request to Sallyport as login.example.com.
  call(port, method, path, value, headers = {}) {
    return new Promise((resolve, reject) => {
      const req = request({host: '127.0.0.1', port, method, path, ca: this.certificate, servername: 'login.example.com', headers: {Host: 'login.example.com', ...headers}}, async res => {
        let body = '';
        for await (const part of res) body += part;
        resolve({status: res.statusCode, body});
      });
      req.on('error', reject);
      req.end(value && JSON.stringify(value));
    });
  }

  async push(method, path, value) {
    const {status, body} = await this.call(this.scim, method, '/scim/v2/' + path, value, {Authorization: 'Bearer ' + this.token, 'Content-Type': 'application/scim+json'});
    if (status >= 300) throw new Error(`${method} ${path} gets ${status}: ${body}`);
    return JSON.parse(body);
  }

  // pushPeople pushes ada, who is in the group of the recipe, and eve, who is not.
  async pushPeople() {
    const user = name => this.push('POST', 'Users', {schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'], userName: name, externalId: name, active: true, displayName: name});
    this.ada = await user('ada');
    await user('eve');
    if (this.group) await this.push('POST', 'Groups', {schemas: ['urn:ietf:params:scim:schemas:core:2.0:Group'], displayName: 'Group', externalId: this.group, members: [{value: this.ada.id}]});
  }

  deactivate() {
    return this.push('PATCH', 'Users/' + this.ada.id, {schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'], Operations: [{op: 'replace', path: 'active', value: false}]});
  }

  // open opens a page as a person who has to sign in first.
  async open(t, user, address) {
    const context = await this.browser.newContext({ignoreHTTPSErrors: true});
    context.setDefaultTimeout(patience);
    t.after(() => context.close());
    const page = await context.newPage();
    page.sockets = [];
    page.on('websocket', socket => page.sockets.push(socket));
    await page.goto(address);
    const [response] = await Promise.all([
      page.waitForResponse(r => r.url().startsWith(address) && (r.status() < 300 || r.status() >= 400) && r.request().isNavigationRequest()),
      page.getByRole('button', {name: user, exact: true}).click(),
    ]);
    page.arrived = response;
    return page;
  }

  async stop() {
    await this.browser?.close();
    await stop(this.sallyport);
    await stop(this.application);
    this.provider.close();
    this.keys?.closeAllConnections();
    this.keys?.close();
    if (this.folder) await rm(this.folder, {recursive: true, force: true});
  }
}

// openSocket waits until the page has an open WebSocket at that path.
export async function openSocket(page, path) {
  const found = () => page.sockets.find(socket => new URL(socket.url()).pathname.startsWith(path) && !socket.isClosed());
  const deadline = Date.now() + patience;
  while (!found()) {
    if (Date.now() > deadline) throw new Error(`the page opened no WebSocket at ${path}, but ${page.sockets.map(s => s.url())}`);
    await new Promise(resolve => setTimeout(resolve, 100));
  }
  return found();
}
