
'use strict';
(() => {
  const $ = (id) => document.getElementById(id);
  const HISTORY = 120, PAGE = 25;
  const count = (n) => Math.round(n).toLocaleString('en-US');
  const few = (n) => n >= 100 || Number.isInteger(n) ? count(n) : n.toFixed(n >= 10 ? 1 : 2);
  const bytes = (n) => {
    for (const [unit, size] of [['GiB', 2 ** 30], ['MiB', 2 ** 20], ['KiB', 1024]]) if (n >= size) return (n / size).toFixed(n / size < 10 ? 1 : 0) + ' ' + unit;
    return n + ' B';
  };
  const span = (ms) => ms < 1 ? (ms > 0 ? ms.toFixed(2) : '0') + ' ms' : ms < 1000 ? few(+ms.toPrecision(3)) + ' ms' : ms < 120000 ? few(+(ms / 1000).toPrecision(3)) + ' s' : ms < 7200000 ? Math.round(ms / 60000) + ' min' : Math.round(ms / 3600000) + ' h';
  const ns = (n) => span(n / 1e6);
  const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many || one + 's'}`;
  const nodeName = (id) => id < 0 ? 'none' : String(id);

  const el = (tag, cls, ...content) => {
    const e = document.createElement(tag);
    if (cls) e.className = cls;
    e.append(...content);
    return e;
  };
  const text = (e, value) => { if (e.textContent !== value) e.textContent = value; };

  // Themes: automatic, light, dark. What is chosen is kept where the browser allows it.
  const themes = ['automatic', 'light', 'dark'];
  let theme = 'automatic';
  try { theme = themes.includes(localStorage.getItem('quill-theme')) ? localStorage.getItem('quill-theme') : theme; } catch (e) { /* not kept */ }
  const wear = () => {
    if (theme === 'automatic') delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = theme;
    text($('theme'), 'Theme: ' + theme);
    drawHeat();
  };
  $('theme').onclick = () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    try { localStorage.setItem('quill-theme', theme); } catch (e) { /* not kept */ }
    wear();
  };

  // Charts: a few lines of the last two minutes.
  const svg = (tag, attrs) => {
    const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const k in attrs) e.setAttribute(k, attrs[k]);
    return e;
  };
  const chart = (id, lines, limit, area) => {
    const W = 240, H = 62, top = limit || Math.max(1e-9, ...lines.flat().filter((v) => v != null)) * 1.1;
    const x = (i, n) => W - (n - 1 - i) * W / (Math.max(15, n) - 1), y = (v) => 1 + H - Math.min(1, v / top) * H;
    const paths = lines.map((line, k) => {
      let d = '', on = false;
      line.forEach((v, i) => {
        if (v != null) d += (on ? 'L' : 'M') + x(i, line.length).toFixed(1) + ' ' + y(v).toFixed(1);
        on = v != null;
      });
      return svg('path', { d, class: 's' + k });
    });
    const first = lines[0] || [];
    const from = first.findIndex((v) => v != null);
    if (area && from >= 0 && from < first.length - 1) {
      const d = first.slice(from).map((v, i) => (i ? 'L' : 'M') + x(i + from, first.length).toFixed(1) + ' ' + y(v || 0).toFixed(1)).join('') + `L${W} ${H + 1}L${x(from, first.length).toFixed(1)} ${H + 1}Z`;
      paths.unshift(svg('path', { d, class: 'area' }));
    }
    $(id).replaceChildren(svg('line', { x1: 0, x2: W, y1: H + 1, y2: H + 1 }), ...paths);
  };
  const key = (id, names) => $(id).replaceChildren(...names.map((n, k) => el('span', '', el('i', 's' + k), n)));

  // Tables. A column is [title, class, cell, sort value].
  class Table {
    constructor(id, columns, by, descending, none) {
      Object.assign(this, { table: $(id), columns, by, descending, none });
      const row = el('tr', '');
      this.heads = columns.map(([title, cls, , sort], i) => {
        const th = el('th', cls);
        th.scope = 'col';
        if (!sort) { th.append(title); row.append(th); return th; }
        const b = el('button', '', title);
        b.type = 'button';
        b.onclick = () => { this.descending = this.by === i ? !this.descending : cls.includes('n'); this.by = i; this.marks(); render(); };
        th.append(b);
        row.append(th);
        return th;
      });
      this.body = el('tbody', '');
      this.table.replaceChildren(el('thead', '', row), this.body);
      this.marks();
    }
    marks() { this.heads.forEach((th, i) => { if (this.columns[i][3]) th.setAttribute('aria-sort', i !== this.by ? 'none' : this.descending ? 'descending' : 'ascending'); }); }
    sorted(rows) {
      const value = this.columns[this.by] && this.columns[this.by][3];
      if (!value) return rows;
      const sign = this.descending ? -1 : 1;
      return rows.sort((a, b) => { const x = value(a), y = value(b); return x < y ? -sign : x > y ? sign : 0; });
    }
    show(rows) {
      if (rows.length === 0) {
        const td = el('td', '', this.none);
        td.colSpan = this.columns.length;
        this.body.replaceChildren(el('tr', 'none', td));
        return;
      }
      this.body.replaceChildren(...rows.map((r) => el('tr', '', ...this.columns.map(([, cls, cell]) => {
        const c = cell(r);
        return Array.isArray(c) ? el('td', cls + ' ' + c[1], c[0]) : el('td', cls, c);
      }))));
    }
  }

  let now = null, before = null, times = [], lost = false;
  const history = { rate: [], latency: [[], [], []], memory: [], flight: new Map() };
  let page = 0, chosen = 0;

  const stateOf = (P, i) => {
    if (P.leader[i] < 0) return 'no leader';
    if (P.waits[i]) return 'retrying';
    if (P.state[i] & 2) return 'settling';
    if (P.inFlight[i]) return 'in flight';
    if (P.queued[i]) return P.state[i] & 1 ? 'muted' : 'queued';
    return 'idle';
  };
  const tone = { 'no leader': 'bad', retrying: 'bad', settling: 'warn', muted: 'warn', idle: 'soft' };
  const P = () => now.partitions;
  const partitions = new Table('tPartitions', [
    ['Topic', '', (i) => P().names[P().topic[i]], (i) => P().names[P().topic[i]]],
    ['Partition', 'n', (i) => String(P().number[i]), (i) => P().number[i]],
    ['Leader', 'n', (i) => nodeName(P().leader[i]), (i) => P().leader[i]],
    ['State', '', (i) => { const s = stateOf(P(), i); return [s, tone[s] || '']; }, (i) => stateOf(P(), i)],
    ['Oldest', 'n', (i) => P().age[i] || P().queued[i] || P().inFlight[i] ? span(P().age[i]) : '–', (i) => P().age[i]],
    ['Queued', 'n', (i) => count(P().queued[i]), (i) => P().queued[i]],
    ['Records', 'n', (i) => count(P().records[i]), (i) => P().records[i]],
    ['Bytes', 'n', (i) => bytes(P().bytes[i]), (i) => P().bytes[i]],
    ['In flight', 'n', (i) => count(P().inFlight[i]), (i) => P().inFlight[i]],
    ['Next seq.', 'n', (i) => P().next[i] < 0 ? '–' : String(P().next[i]), (i) => P().next[i]],
    ['Acked', 'n', (i) => P().acked[i] < 0 ? '–' : String(P().acked[i]), (i) => P().acked[i]],
    ['Waits for', 'wide', (i) => P().waits[i] || ''],
  ], 4, true, 'No partitions match.');
  const since = (t) => t ? span(Math.max(0, Date.parse(now.taken) - Date.parse(t))) : '–';
  const produce = (n) => { const v = (n.versions || []).find((x) => x.api === 'Produce'); return v ? `${v.lowest}–${v.highest}` : '–'; };
  const nodes = new Table('tNodes', [
    ['Node', '', (n) => n.id < 0 ? 'bootstrap' : n.id + (n.second ? ' ²' : ''), (n) => n.id],
    ['Address', '', (n) => n.address, (n) => n.address],
    ['Connection', '', (n) => [n.connection, { ready: 'good', down: 'bad', connecting: 'warn' }[n.connection] || 'soft'], (n) => n.connection],
    ['For', 'n', (n) => since(n.since)],
    ['In flight', 'n', (n) => count(n.inFlight), (n) => n.inFlight],
    ['Waits', 'n', (n) => n.inFlight ? ns(n.waits) : '–', (n) => n.waits],
    ['Round trip', 'n', (n) => n.roundTrip ? ns(n.roundTrip) : '–', (n) => n.roundTrip],
    ['Throttled', 'n', (n) => n.throttle ? [ns(n.throttle), 'warn'] : '–', (n) => n.throttle],
    ['Failures', 'n', (n) => n.failures ? [count(n.failures), 'bad'] : '0', (n) => n.failures],
    ['Produce', 'n', produce],
    ['Last error', 'wide', (n) => n.lastError || ''],
  ], 0, false, 'No connections.');
  const memory = new Table('tMemory', [
    ['Node', '', (s) => s.node < 0 ? 'no leader' : String(s.node), (s) => s.node],
    ['Held', 'n', (s) => bytes(s.held), (s) => s.held],
    ['Its part', 'n', (s) => bytes(s.part), (s) => s.part],
    ['Sends waiting', 'n', (s) => s.waiters ? [count(s.waiters), 'bad'] : '0', (s) => s.waiters],
  ], 1, true, 'Nothing was sent yet.');
  const errors = new Table('tErrors', [
    ['Last', '', (e) => since(e.last) + ' ago', (e) => -Date.parse(e.last)],
    ['Records', 'n', (e) => count(e.records), (e) => e.records],
    ['What', '', (e) => [e.kind, e.kind === 'failed' ? 'bad' : 'warn'], (e) => e.kind],
    ['Topic', '', (e) => e.topic, (e) => e.topic],
    ['Error', 'wide', (e) => e.text],
  ], 0, false, 'No errors.');
  const settings = new Table('tSettings', [
    ['Property', '', (s) => s.name, (s) => s.name],
    ['Value', 'wide', (s) => s.value === '' ? ['(empty)', 'soft'] : s.value],
    ['From', '', (s) => s.source === 'default' ? [s.source, 'soft'] : s.source === 'Config' && s.field ? 'Config.' + s.field : s.source, (s) => s.source],
  ], 0, false, 'No settings match.');

  const matches = (filter, ...texts) => filter.every((f) => texts.some((t) => t.toLowerCase().includes(f)));
  const words = (id) => $(id).value.toLowerCase().split(/\s+/).filter(Boolean);

  // The heat map: a cell for each partition, and a reading of one of them for keyboard and screen reader.
  const grid = { cols: 1, size: 10 };
  const heatValue = (i) => { const by = $('heatBy').value; return by === 'leader' ? P().leader[i] : P()[by][i]; };
  const drawHeat = () => {
    if (!now) return;
    const p = P(), n = p.topic.length, box = $('heat'), canvas = $('cells');
    const width = Math.max(200, box.clientWidth), size = n <= 60 ? 26 : n <= 400 ? 18 : n <= 2000 ? 12 : n <= 5000 ? 8 : n <= 20000 ? 6 : 4;
    const cols = Math.max(1, Math.floor(width / size)), rows = Math.max(1, Math.ceil(n / cols)), ratio = Math.min(2, devicePixelRatio || 1);
    Object.assign(grid, { cols, size });
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(rows * size * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(rows * size * ratio);
      canvas.style.height = rows * size + 'px';
    }
    const g = canvas.getContext('2d'), style = getComputedStyle(document.documentElement), ink = (name) => style.getPropertyValue(name).trim();
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, width, rows * size);
    const by = $('heatBy').value, gap = size > 8 ? 2 : 1, leaders = ['--fill', '--fill2', '--fill3', '--soft', '--good', '--warn'].map(ink);
    let most = 0;
    for (let i = 0; i < n; i++) most = Math.max(most, heatValue(i));
    const empty = ink('--cell'), fill = ink('--fill'), bad = ink('--bad');
    for (let i = 0; i < n; i++) {
      const x = i % cols * size, y = Math.floor(i / cols) * size, v = heatValue(i);
      g.globalAlpha = 1;
      g.fillStyle = empty;
      g.fillRect(x, y, size - gap, size - gap);
      if (p.leader[i] < 0 || p.waits[i]) { g.fillStyle = bad; } else if (by === 'leader') { g.globalAlpha = .75; g.fillStyle = leaders[v % leaders.length]; } else if (v > 0) { g.globalAlpha = .25 + .75 * Math.sqrt(v / most); g.fillStyle = fill; } else continue;
      g.fillRect(x, y, size - gap, size - gap);
    }
    g.globalAlpha = 1;
    if (n > 0 && (document.activeElement === box || grid.hover)) {
      g.strokeStyle = ink('--ink');
      g.lineWidth = 2;
      g.strokeRect(chosen % cols * size, Math.floor(chosen / cols) * size, size - gap, size - gap);
    }
    const what = { age: ms => span(ms), bytes, records: (v) => plural(v, 'record'), inFlight: (v) => plural(v, 'batch', 'batches'), leader: () => '' }[by];
    text($('heatKey'), by === 'leader' ? '' : n ? `Strongest: ${what(most)}. Red: no leader, or sent again.` : '');
    readCell();
  };
  const cellText = (i) => {
    const p = P(), parts = [`${p.names[p.topic[i]]} ${p.number[i]}: ${stateOf(p, i)}`, p.leader[i] < 0 ? 'no leader' : `leader ${p.leader[i]}`];
    if (p.queued[i]) parts.push(`${plural(p.records[i], 'record')} queued, ${bytes(p.bytes[i])}`);
    if (p.inFlight[i]) parts.push(`${p.inFlight[i]} in flight`);
    if (p.age[i]) parts.push(`oldest ${span(p.age[i])}`);
    return parts.join(', ') + '.';
  };
  const readCell = () => {
    const n = P().topic.length, box = $('heat');
    if (!n) { text($('heatText'), 'No partitions yet.'); return; }
    chosen = Math.min(chosen, n - 1);
    const t = cellText(chosen);
    text($('heatText'), t);
    box.setAttribute('aria-valuemax', n - 1);
    box.setAttribute('aria-valuenow', chosen);
    box.setAttribute('aria-valuetext', t);
  };
  $('heat').onkeydown = (e) => {
    if (!now) return;
    const n = P().topic.length, step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: grid.cols, ArrowUp: -grid.cols, PageDown: 10 * grid.cols, PageUp: -10 * grid.cols, Home: -n, End: n }[e.key];
    if (!step || !n) return;
    e.preventDefault();
    chosen = Math.max(0, Math.min(n - 1, chosen + step));
    drawHeat();
  };
  $('heat').onmousemove = (e) => {
    if (!now) return;
    const r = $('heat').getBoundingClientRect(), i = Math.floor((e.clientX - r.left) / grid.size) + grid.cols * Math.floor((e.clientY - r.top) / grid.size);
    if (i >= 0 && i < P().topic.length && e.clientX - r.left < grid.cols * grid.size) { chosen = i; grid.hover = true; drawHeat(); }
  };
  $('heat').onmouseleave = () => { grid.hover = false; drawHeat(); };
  $('heat').onfocus = $('heat').onblur = $('heatBy').onchange = drawHeat;
  addEventListener('resize', drawHeat);

  // What the numbers mean, in a sentence, and what deserves a look.
  const findings = (rate) => {
    const list = [], s = now, p = P();
    const add = (grade, t) => list.push({ grade, t });
    if (s.fault) add('bad', `The producer has failed for good: ${s.fault}`);
    if (s.missing) add('bad', `The sender does not answer: ${s.missing}`);
    const down = s.nodes.filter((n) => n.failures > 0 && n.id >= 0 && !n.second && n.connection !== 'ready');
    for (const n of down) {
      const waiting = p.leader.reduce((k, l, i) => k + (l === n.id && (p.queued[i] || p.inFlight[i]) ? 1 : 0), 0);
      add('bad', `Node ${n.id} can't be reached (${plural(n.failures, 'attempt')})${waiting ? `; ${plural(waiting, 'partition')} wait for it` : ''}: ${n.lastError || 'no reason is known'}`);
    }
    const slow = s.nodes.filter((n) => n.connection === 'ready' && n.inFlight && n.waits > 2e9);
    for (const n of slow) add('warn', `Node ${n.id} has not answered for ${ns(n.waits)}, with ${plural(n.inFlight, 'request')} in flight.`);
    for (const n of s.nodes) if (n.throttle > 0) add('warn', `Node ${n.id} asks for a pause of ${ns(n.throttle)}: a quota.`);
    if (s.memory.waiters) add('bad', `${plural(s.memory.waiters, 'Send')} wait for memory: the buffer is full.`);
    const oldest = p.age.reduce((a, b) => Math.max(a, b), 0);
    const orphans = p.leader.reduce((k, l) => k + (l < 0 ? 1 : 0), 0);
    if (orphans) add('bad', `${plural(orphans, 'partition')} have no leader.`);
    if (s.callbacks.slowest > 1e9) add('warn', `The slowest callbacks took ${ns(s.callbacks.slowest)}${s.callbackTimes.topic ? `, of a batch to ${s.callbackTimes.topic}` : ''}: everything behind them waits.`);
    if (s.cluster.lastError) add('warn', `The last request for metadata failed: ${s.cluster.lastError}`);
    if (s.transaction && /ERROR/.test(s.transaction.state)) add('bad', `The transaction is in ${s.transaction.state}: ${s.transaction.error || 'no reason is known'}`);
    return { list, oldest, rate };
  };
  const verdict = ({ list, oldest, rate }) => {
    const s = now, bad = list.some((f) => f.grade === 'bad');
    if (lost) return ['bad', 'The page has lost the program. It tries again.'];
    if (s.state === 'failed') return ['bad', 'Failed. This producer has to be replaced.'];
    if (s.state === 'closed') return ['', 'Closed.'];
    if (s.state === 'closing') return ['warn', `Closing. ${plural(s.batches, 'batch', 'batches')} still on the way.`];
    const waits = oldest > 2000 ? ` The oldest record has waited for ${span(oldest)}.` : '';
    if (bad) return ['bad', `In trouble.${waits}`];
    if (list.length) return ['warn', `Running, and worth a look.${waits}`];
    if (rate < 0.5 && s.batches === 0) return ['good', 'Idle. Everything that was sent is in the log.'];
    return ['good', `Running well: ${count(rate)} records a second.${waits}`];
  };

  const pushed = (list, v) => { list.push(v); if (list.length > HISTORY) list.shift(); };
  const rateOf = (name) => {
    if (!before) return null;
    const dt = (Date.parse(now.taken) - Date.parse(before.taken)) / 1000;
    return dt > 0 ? Math.max(0, (now.rates[name] - before.rates[name]) / dt) : null;
  };
  const record = () => {
    pushed(history.rate, rateOf('records'));
    now.latency.endToEnd.forEach((v, i) => pushed(history.latency[i], rateOf('records') ? v : null));
    pushed(history.memory, now.memory.total - now.memory.available);
    const flight = new Map();
    for (const n of now.nodes) if (n.id >= 0) flight.set(n.id, (flight.get(n.id) || 0) + n.inFlight);
    const length = history.memory.length;
    for (const id of flight.keys()) if (!history.flight.has(id)) history.flight.set(id, new Array(length - 1).fill(null));
    for (const [id, line] of history.flight) { pushed(line, flight.has(id) ? flight.get(id) : null); while (line.length > length) line.shift(); }
  };
  const charts = () => {
    const rate = history.rate.at(-1), byteRate = rateOf('bytes');
    text($('nRate'), rate == null ? '–' : count(rate));
    text($('kRate'), byteRate == null ? '' : bytes(Math.round(byteRate)) + ' a second');
    chart('cRate', [history.rate], 0, true);
    const l = now.latency.endToEnd;
    text($('nLatency'), l[2] == null ? '–' : span(l[2]));
    key('kLatency', ['p50 ' + (l[0] == null ? '–' : span(+l[0].toPrecision(2))), 'p95 ' + (l[1] == null ? '–' : span(+l[1].toPrecision(2))), 'p99']);
    chart('cLatency', history.latency);
    const used = now.memory.total - now.memory.available;
    text($('nMemory'), bytes(used));
    text($('kMemory'), `${(100 * used / now.memory.total).toFixed(used ? 1 : 0)} % of ${bytes(now.memory.total)}`);
    chart('cMemory', [history.memory], now.memory.total, true);
    const busiest = [...history.flight].sort((a, b) => a[0] - b[0]).slice(0, 4);
    text($('nFlight'), count(now.nodes.reduce((k, n) => k + n.inFlight, 0)));
    key('kFlight', busiest.map(([id]) => 'node ' + id));
    chart('cFlight', busiest.map(([, line]) => line));
    for (const [id, what, value] of [['cRate', 'Records a second', $('nRate')], ['cLatency', 'End to end latency, 99th percentile', $('nLatency')], ['cMemory', 'Memory in use', $('nMemory')], ['cFlight', 'Requests in flight', $('nFlight')]]) $(id).setAttribute('aria-label', `${what} over the last two minutes; now ${value.textContent}`);
  };
  const identity = () => {
    const rows = [], add = (k, v) => { if (v !== undefined && v !== '') rows.push(el('dt', '', k), el('dd', '', String(v))); };
    const id = now.producerId, t = now.transaction;
    if (!id) add('Idempotence', now.missing ? 'not known' : 'off');
    else { add('Producer id', id.id < 0 ? `${id.state}` : `${id.id}, epoch ${id.epoch}`); add('Renewed', plural(id.bumps, 'time')); add('Error', id.error); }
    if (t) {
      add('Transactional id', t.id); add('State', t.state); add('Protocol', 'version ' + t.version); add('Partitions', t.partitions);
      add('Offsets to commit', t.offsets); add('Coordinator', t.coordinator < 0 ? 'not known' : 'node ' + t.coordinator); add('Call', t.call); add('Waits for', t.waits); add('Error', t.error);
    } else add('Transactions', 'not used');
    add('Callbacks', now.callbacks.running ? `running, of ${now.callbacks.topic} ${now.callbacks.partition}; ${plural(now.callbacks.waiting, 'batch', 'batches')} behind` : `none running; slowest ${ns(now.callbacks.slowest)}`);
    $('identity').replaceChildren(...rows);
  };
  const tables = () => {
    const p = P(), filter = words('fPartitions'), busy = $('busy').checked, rows = [];
    for (let i = 0; i < p.topic.length; i++) {
      if (busy && !p.queued[i] && !p.inFlight[i]) continue;
      if (!filter.length || matches(filter, p.names[p.topic[i]], String(p.number[i]), stateOf(p, i), 'node ' + p.leader[i])) rows.push(i);
    }
    partitions.sorted(rows);
    const pages = Math.max(1, Math.ceil(rows.length / PAGE));
    page = Math.max(0, Math.min(page, pages - 1));
    partitions.show(rows.slice(page * PAGE, page * PAGE + PAGE));
    text($('pageText'), rows.length ? `${count(page * PAGE + 1)}–${count(Math.min(rows.length, page * PAGE + PAGE))} of ${count(rows.length)}` : '0 of ' + count(p.topic.length));
    $('prev').disabled = page === 0;
    $('next').disabled = page === pages - 1;
    nodes.show(nodes.sorted([...now.nodes]));
    memory.show(memory.sorted([...now.memory.shares]));
    text($('memoryText'), `${bytes(now.memory.available)} of ${bytes(now.memory.total)} are free; ${plural(now.memory.waiters, 'Send')} wait.`);
    const errorWords = words('fErrors'), settingWords = words('fSettings'), changed = $('changed').checked;
    errors.show(errors.sorted(now.errors.filter((e) => matches(errorWords, e.topic, e.text, e.kind))));
    settings.show(settings.sorted(now.settings.filter((s) => (!changed || s.source !== 'default') && matches(settingWords, s.name, s.value, s.source))));
  };
  const render = () => {
    if (!now) return;
    const rate = history.rate.at(-1) || 0, found = findings(rate), [grade, sentence] = verdict(found);
    text($('client'), now.clientId || '(no client id)');
    document.title = `${now.clientId} · quill`;
    text($('version'), now.version);
    $('dot').className = 'dot ' + grade;
    text($('verdict'), sentence);
    const ready = new Set(now.nodes.filter((n) => n.id >= 0 && n.connection === 'ready').map((n) => n.id)).size;
    text($('facts'), [`cluster ${now.cluster.id || 'not known'}`, `${ready} of ${plural(now.cluster.nodes, 'node')} connected`, plural(P().topic.length, 'partition'),
      `${count(now.rates.errors)} records failed`, `${count(now.rates.retries)} sent again`].join(' · '));
    $('notes').replaceChildren(...found.list.slice(0, 6).map((f) => el('li', f.grade, f.t)));
    charts();
    identity();
    tables();
    drawHeat();
  };
  for (const id of ['fPartitions', 'fErrors', 'fSettings']) $(id).oninput = () => { page = 0; render(); };
  for (const id of ['busy', 'changed']) $(id).onchange = () => { page = 0; render(); };
  $('prev').onclick = () => { page--; render(); };
  $('next').onclick = () => { page++; render(); };

  const source = new EventSource('events');
  source.onmessage = (e) => {
    const next = JSON.parse(e.data);
    if (!next.taken || now && next.taken === now.taken) return;
    before = now;
    now = next;
    lost = false;
    record();
    render();
  };
  source.onerror = () => { lost = true; render(); };
  wear();
})();
