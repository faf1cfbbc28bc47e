// What the tests of actions have in common: an action is tried by those who may not carry it out, with the very form of
// somebody who may, and then carried out.
import assert from 'node:assert/strict';
import {patience} from './harness.mjs';

// post sends a form from a page by its script, and returns the status of the response; 0 means that it leads to a page.
export const post = (page, {path, fields}) => page.evaluate(async ([path, fields]) => (await fetch(path, {method: 'POST', redirect: 'manual', body: new URLSearchParams(fields)})).status, [path, fields]);

// formOf returns what a button would send: where, and which fields.
export const formOf = button => button.evaluate(button => {
  const form = button.form;
  return {path: button.hasAttribute('formaction') ? button.formAction : form.action, fields: [...new FormData(form, button)].map(([name, value]) => [name, String(value)])};
});

// postFrom has a page of another origin send a form, as a page that was made for it would: into a frame, with the cookies that
// the browser sends with it. It returns the status of the response.
export async function postFrom(page, {path, fields}) {
  const response = page.waitForResponse(response => response.url() === new URL(path).href && response.request().method() === 'POST', {timeout: patience});
  await page.evaluate(([path, fields]) => {
    document.querySelector('iframe')?.remove();
    document.body.append(Object.assign(document.createElement('iframe'), {name: 'other'}));
    const form = Object.assign(document.createElement('form'), {method: 'post', action: path, target: 'other'});
    form.append(...fields.map(([name, value]) => Object.assign(document.createElement('input'), {name, value})));
    document.body.append(form);
    HTMLFormElement.prototype.submit.call(form);
    form.remove();
  }, [path, fields]);
  return (await response).status();
}

// until waits until a condition holds.
export async function until(holds, what) {
  for (const end = Date.now() + patience; !await holds();) {
    assert.ok(Date.now() < end, what);
    await new Promise(resolve => setTimeout(resolve, 50));
  }
}

// press presses the button of an action, and waits for the page that responds.
export async function press(page, button) {
  const [response] = await Promise.all([page.waitForNavigation(), button.click()]);
  return response;
}
