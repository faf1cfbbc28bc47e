// Uses JupyterLab as a person does.

const patient = 90_000; // it loads long on a busy machine

// runNotebook opens a notebook from the launcher, and runs a cell until its kernel has computed the value. JupyterLab may
// exchange the kernel of a new notebook once, which forgets what it was asked before.
export async function runNotebook(page) {
  await page.locator('.jp-LauncherCard[data-category=Notebook]').first().click({timeout: patient});
  const cell = page.locator('.jp-Notebook .jp-Cell .cm-content').first();
  await cell.click({timeout: patient});
  await cell.pressSequentially('6 * 7');
  const value = page.locator('.jp-OutputArea-output').getByText('42', {exact: true});
  for (const deadline = Date.now() + patient; ;) {
    await page.locator('.jp-Notebook-ExecutionIndicator[data-status=idle]').waitFor({timeout: patient});
    await cell.click();
    await page.keyboard.press('Control+Enter');
    try {
      return await value.waitFor({timeout: 15_000});
    } catch (err) {
      if (Date.now() > deadline) throw err;
    }
  }
}
