// A Sallyport with the company that browser/company makes up, its applications and a provider that signs in whoever is
// picked: ada administers the console, grace audits, eve may not look.
//
//   node browser/company.mjs        starts it, prints where it is, and runs until Ctrl-C
import {cp, mkdtemp, readFile, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {spawn} from 'node:child_process';
import {fileURLToPath} from 'node:url';
import {after, before} from 'node:test';
import {arrived, finish, launchBrowser, newPerson, spawnSallyport, stop} from './harness.mjs';
import {freePorts, listenApplication} from './world.mjs';
import {Provider} from './provider.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

export class Company {
  provider = new Provider();
  log = '';

  // start makes the company, unless it has been made in the folder that COMPANY names, and starts a server with it.
  async start() {
    this.folder = await mkdtemp(join(tmpdir(), 'sallyport-company-'));
    const made = process.env.COMPANY;
    if (made) await cp(made, this.folder, {recursive: true});
    else await finish(spawn('go', ['test', '-count=1', './browser/company', '-run', 'TestCompany', '-args', '-out', this.folder], {cwd: root}));
    this.provider.users = ['ada', 'grace', 'eve', 'stranger'];
    await this.provider.listen();
    this.upstream = await listenApplication();
    const [port, scim, ops] = await freePorts(3);
    this.login = `http://login.castle.localhost:${port}`;
    this.console = this.login + '/.sallyport/console';
    this.scim = `http://127.0.0.1:${scim}`;
    this.grafana = `http://grafana.castle.localhost:${port}`;
    this.wiki = `http://wiki.castle.localhost:${port}`; // of all staff
    await writeFile(join(this.folder, 'secrets/oidc'), this.provider.client.secret);
    this.file = join(this.folder, 'sallyport.yaml');
    const words = {PORT: port, PUBLIC: `127.0.0.1:${port}`, SCIM: `127.0.0.1:${scim}`, OPS: `127.0.0.1:${ops}`,
      UPSTREAM: `http://127.0.0.1:${this.upstream.address().port}`, ISSUER: this.provider.issuer, CLIENT: this.provider.client.id};
    const template = await readFile(join(this.folder, 'sallyport.template.yaml'), 'utf8');
    await writeFile(this.file, template.replace(/\b(PORT|PUBLIC|SCIM|OPS|UPSTREAM|ISSUER|CLIENT)\b/g, word => words[word]));
    this.sallyport = spawnSallyport('serve', '-c', this.file);
    this.sallyport.stdout.on('data', data => this.log += data);
    this.sallyport.stderr.on('data', data => this.log += data);
    while (!await fetch(`http://127.0.0.1:${ops}/readyz`).then(r => r.ok, () => false)) {
      if (this.sallyport.exitCode !== null) throw new Error(`sallyport ended with ${this.sallyport.exitCode}:\n${this.log}`);
      await new Promise(resolve => setTimeout(resolve, 50));
    }
  }

  async stop() {
    await stop(this.sallyport);
    this.provider.close();
    this.upstream?.closeAllConnections();
    this.upstream?.close();
    if (this.folder) await rm(this.folder, {recursive: true, force: true});
  }

  // verb runs a verb of the command line against the server.
  verb(...args) { return finish(spawnSallyport(...args, '-c', this.file)); }

  // signIn opens a page of the console as somebody.
  async signIn(page, user, path = '/') {
    await page.goto(this.console + path);
    await page.getByRole('button', {name: user, exact: true}).click();
    await arrived(page, url => url.pathname.startsWith('/.sallyport/console') && !url.search.includes('state='));
  }
}

// openCompany starts a company and a browser before the tests of a file, and stops both after them.
export function openCompany() {
  const company = new Company();
  before(async () => {
    [company.browser] = await Promise.all([launchBrowser(), company.start()]);
  }, {timeout: 240_000});
  after(async () => {
    await company.browser?.close();
    await company.stop();
  });

  // as opens a page of the console in a browser of its own, in which somebody is signed in. What its scripts throw ends up in
  // the page's faults.
  async function as(t, user, path = '/', options = {}) {
    const context = await newPerson(t, company.browser, options);
    const page = await context.newPage();
    page.faults = [];
    page.on('pageerror', error => page.faults.push(String(error)));
    await company.signIn(page, user, path);
    return page;
  }
  return {company, as};
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const company = new Company();
  await company.start();
  console.log(`${company.console}/ is ready; sign in as ada (administrator), grace (auditor) or eve (neither). Stop with Ctrl-C.\n${company.file}`);
  process.once('SIGINT', async () => { await company.stop(); process.exit(0); });
}
