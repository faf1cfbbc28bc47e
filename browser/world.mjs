// A Sallyport with two applications and a provider with single sign-on, for the tests beside this file. All hosts are
// of one site, as those of a company are.
import {createHash} from 'node:crypto';
import {mkdtemp, mkdir, rm, writeFile} from 'node:fs/promises';
import {createServer} from 'node:http';
import {createServer as createSocket} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {finish, spawnSallyport, stop} from './harness.mjs';
import {Provider} from './provider.mjs';

const escape = text => text.replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);

export class World {
  provider = new Provider();
  log = '';

  async start() {
    this.folder = await mkdtemp(join(tmpdir(), 'sallyport-browser-'));
    await this.provider.listen();
    this.upstream = await listenApplication();
    const [port, scim, ops] = await freePorts(3);
    this.login = `http://login.castle.localhost:${port}`;
    this.reports = `http://reports.castle.localhost:${port}`;
    this.wiki = `http://wiki.castle.localhost:${port}`;
    this.lobby = `http://lobby.castle.localhost:${port}`; // for everybody
    await mkdir(join(this.folder, 'secrets'));
    await writeFile(join(this.folder, 'secrets/oidc'), this.provider.client.secret);
    const file = this.file = join(this.folder, 'sallyport.yaml');
    await this.prepare();
    await writeFile(file, this.config(port, scim, ops));
    this.sallyport = spawnSallyport('serve', '--init', '-c', file);
    this.sallyport.stdout.on('data', data => this.log += data);
    this.sallyport.stderr.on('data', data => this.log += data);
    await this.ready(`http://127.0.0.1:${ops}/readyz`);
    const {token} = JSON.parse(await finish(spawnSallyport('token', 'create', 'test', '-o', 'json', '-c', file)));
    for (const user of this.provider.users.slice(0, -1)) await push(`http://127.0.0.1:${scim}/scim/v2/Users`, token, user);
  }

  // prepare is for worlds whose configuration names files.
  async prepare() {}

  async stop() {
    await stop(this.sallyport);
    this.provider.close();
    this.upstream?.closeAllConnections();
    this.upstream?.close();
    if (this.folder) await rm(this.folder, {recursive: true, force: true});
  }

  // endSessions ends all sessions of a user.
  endSessions(user) { return finish(spawnSallyport('sessions', 'end', '--user', user, '-c', this.file)); }

  async ready(url) {
    while (!await fetch(url).then(r => r.ok, () => false)) {
      if (this.sallyport.exitCode !== null) throw new Error(`sallyport ended with ${this.sallyport.exitCode}:\n${this.log}`);
      await new Promise(resolve => setTimeout(resolve, 50));
    }
  }

  config(port, scim, ops) {
    const {port: upstream} = this.upstream.address();
    this.abroad = `http://127.0.0.1:${upstream}`; // the application without Sallyport, as a page of another site
    const route = (name, policy, more = '') => `  - {name: ${name}, host: ${name}.castle.localhost, upstream: "http://127.0.0.1:${upstream}", policy: [${policy}], owner: owner@castle.example${more}}\n`;
    return `public_url: ${this.login}
listen: {public: "127.0.0.1:${port}", scim: "127.0.0.1:${scim}", ops: "127.0.0.1:${ops}"}
tls: {off: true}
store: {bolt: {path: data/sallyport.db}}
control: {socket: data/control.sock}
audit: {file: data/audit.jsonl}
limits: {connections: 1000}
oidc: {issuer: "${this.provider.issuer}", client_id: ${this.provider.client.id}, client_secret_file: secrets/oidc, user_claim: sub, user_attribute: externalId}
policies:
  - name: staff
    rules:
      - allow: {users: [ada, eve], methods: [GET, HEAD, POST]}
  - name: everybody
    rules:
      - allow: {anyone: true}
routes:
${route('reports', 'staff', `, keep_forms: true, allowed_origins: ["${this.abroad}"]`)}${route('wiki', 'staff', ', keep_forms: true')}${route('lobby', 'everybody')}`;
  }
}

// listenApplication returns a server with an application on a free port of 127.0.0.1.
export async function listenApplication() {
  const server = createServer(serveApplication);
  server.on('upgrade', openWebSocket);
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  return server;
}

// serveApplication shows what was asked for. The query of /frames names the addresses that the page shows in frames, that
// of /form where its form leads. The page /live has an event stream and a WebSocket open, and says when they end.
async function serveApplication(req, res) {
  let body = '';
  for await (const part of req) body += part;
  const {pathname, searchParams} = new URL(req.url, 'http://application');
  if (pathname === '/events') {
    res.writeHead(200, {'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store'});
    return res.write(': begun\n\n'); // and never ends
  }
  const frames = pathname === '/frames' ? searchParams.getAll('frame') : [];
  res.setHeader('Content-Type', 'text/html; charset=utf-8');
  res.setHeader('Cache-Control', 'no-store');
  const form = pathname === '/form' ? `<form method="post" action="${escape(searchParams.get('to'))}"><textarea name="text"></textarea><button>Save</button></form>` : '';
  res.end(`<!doctype html><title>Application</title><h1>${escape(req.headers['x-forwarded-user'] ?? 'nobody')}</h1>
    <p id="asked">${escape(req.url)}</p>${form}${req.method === 'POST' ? `<p id="saved">${escape(new URLSearchParams(body).get('text') ?? body)}</p><p id="origin">${escape(req.headers.origin ?? '')}</p>` : ''}${frames.map(src => `<iframe src="${escape(src)}"></iframe>`).join('')}${pathname === '/live' ? livePage : ''}`);
}

const livePage = `<p>Events: <b id="events">none</b></p><p>WebSocket: <b id="socket">none</b></p><script>
  const says = (id, text) => () => document.getElementById(id).textContent = text;
  const events = new EventSource('/events'); // begins again by itself, unless it is closed
  events.onopen = says('events', 'open');
  events.onerror = () => { events.close(); says('events', 'cut')(); };
  const socket = new WebSocket('/socket');
  socket.onopen = says('socket', 'open');
  socket.onclose = says('socket', 'cut');
</script>`;

// openWebSocket accepts a WebSocket (RFC 6455, section 4.2.2) on which nothing is ever sent.
function openWebSocket(req, socket) {
  const accept = createHash('sha1').update(req.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
  socket.on('error', () => {}).on('end', () => socket.end()).resume();
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
}

// push creates a user as an identity provider does.
async function push(users, token, name) {
  const body = {schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'], userName: name, externalId: name, active: true, displayName: name};
  const response = await fetch(users, {method: 'POST', body: JSON.stringify(body),
    headers: {Authorization: 'Bearer ' + token, 'Content-Type': 'application/scim+json'}});
  if (response.status !== 201) throw new Error(`pushing ${name} gets ${response.status}: ${await response.text()}`);
}

// freePorts returns ports that were free just now.
export async function freePorts(n) {
  const sockets = Array.from({length: n}, () => createSocket());
  for (const socket of sockets) await new Promise(resolve => socket.listen(0, '127.0.0.1', resolve));
  const ports = sockets.map(socket => socket.address().port);
  for (const socket of sockets) await new Promise(resolve => socket.close(resolve));
  return ports;
}
