// check.mjs looks at the page in headless Chromium: node check.mjs URL SCENE [DIRECTORY]
//
// It waits until the page follows the producer, demands what the scene should show, has axe-core look for what hinders people with a
// screen reader or a keyboard, moves with the keyboard, and with a DIRECTORY makes pictures there. It prints what is wrong and ends
// with 1 if something is.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import puppeteer from 'puppeteer-core';

const [url, scene, directory] = process.argv.slice(2);
const expected = {
  idle: /^Idle\./,
  load: /^Running well: [\d,]+ records a second/,
  dead: /^In trouble\./,
  transaction: /^(Running well|Idle)/,
  many: /^Running well/,
}[scene];
const wrong = [];
const demand = (holds, what) => { if (!holds) wrong.push(what); };

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium', headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--force-color-profile=srgb'],
});
try {
  const page = await browser.newPage();
  await page.setViewport({ width: 1240, height: 1000, deviceScaleFactor: 1 });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'light' }]);
  page.on('console', (m) => { if (m.type() === 'error') wrong.push('console: ' + m.text()); });
  page.on('pageerror', (e) => wrong.push('script: ' + e.message));
  page.on('request', (r) => demand(r.url().startsWith(new URL('/', url).href) || r.url().startsWith('data:'), 'asks another host: ' + r.url()));
  await page.goto(url, { waitUntil: 'domcontentloaded' });

  const verdict = () => page.$eval('#verdict', (e) => e.textContent);
  await page.waitForFunction((source) => new RegExp(source).test(document.getElementById('verdict').textContent), { timeout: 30000 }, expected.source)
    .catch(async () => wrong.push(`the sentence is "${await verdict()}", wanted ${expected}`));
  demand(await page.$eval('#client', (e) => e.textContent) === 'checkout', 'the client id is not there');
  if (scene === 'dead') demand(/Node 2 (can't be reached|has not answered)/.test(await page.$eval('#notes', (e) => e.textContent)), 'the dead node is not named');
  if (scene === 'transaction') demand(/IN_TRANSACTION/.test(await page.$eval('#identity', (e) => e.textContent)), 'the open transaction is not there');

  // The keyboard: the heat map moves, and says where it is.
  await page.focus('#heat');
  const before = await page.$eval('#heat', (e) => e.getAttribute('aria-valuetext'));
  await page.keyboard.press('ArrowRight');
  const after = await page.$eval('#heat', (e) => e.getAttribute('aria-valuetext'));
  demand(before !== after && /orders 1:/.test(after), `the arrow key does not move from "${before}": "${after}"`);

  // Filter and sort: by number, all of them, so that it does not depend on the load.
  await page.type('#fPartitions', 'payments');
  await page.waitForFunction(() => /of 12$/.test(document.getElementById('pageText').textContent), { timeout: 5000 })
    .catch(() => wrong.push('the filter does not leave 12 partitions'));
  await page.click('#tPartitions thead th:nth-child(2) button');
  const column = await page.$$eval('#tPartitions tbody td:nth-child(2)', (all) => all.map((e) => Number(e.textContent)));
  demand(column.join() === [...column].sort((a, b) => b - a).join(), 'the table is not sorted: ' + column);
  demand(await page.$eval('#tPartitions thead th:nth-child(2)', (e) => e.getAttribute('aria-sort')) === 'descending', 'aria-sort does not say so');
  await page.click('#tPartitions thead th:nth-child(5) button');
  await page.$eval('#fPartitions', (e) => { e.value = ''; e.dispatchEvent(new Event('input')); });
  const rows = await page.$$eval('#tPartitions tbody tr', (all) => all.length);
  demand(rows <= 50, `${rows} rows are in the table at once`);
  if (scene === 'many') {
    const took = await page.evaluate(() => { const t = performance.now(); document.getElementById('busy').click(); document.getElementById('busy').click(); return performance.now() - t; });
    console.log(`drawn twice in ${took.toFixed(0)} ms`);
  }
  await page.$eval('#heat', (e) => e.blur());
  if (directory) await new Promise((done) => setTimeout(done, 25000)); // so that the charts have something to show

  const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  for (const theme of ['light', 'dark']) {
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: theme }]);
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    const world = await page.mainFrame().isolatedRealm?.() ?? page;
    await world.evaluate(axe);
    const { violations } = await world.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
    for (const v of violations) {
      const line = `axe, ${theme}: ${v.impact}: ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.target.join(' ') + ' ' + (n.any[0]?.message || '')).join('; ')}`;
      if (v.impact === 'serious' || v.impact === 'critical') wrong.push(line); else console.log(line);
    }
    if (directory) await page.screenshot({ path: path.join(directory, `${scene}-${theme}.png`), clip: { x: 0, y: 0, width: 1240, height: 1000 } });
  }
  if (directory) {
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'light' }]);
    await page.screenshot({ path: path.join(directory, `${scene}-whole.png`), fullPage: true });
  }
} finally {
  await browser.close();
}
for (const w of wrong) console.error('wrong: ' + w);
process.exit(wrong.length ? 1 : 0);
