'use strict';
(() => {
const $ = id => document.getElementById(id);
const index = JSON.parse($('index').textContent);
const files = index.files;
for (const file of files) file.all = file.covered;
const suites = index.suites || [];
const views = suiteViews(index);
let view = views[0];
const counted = index.mode !== 'set';
const LONG = 4000; // characters of a line that are drawn unasked; a line of megabytes stalls the layout
const MARKS = 8; // suites that have a mark in each line; of more, a tooltip names them
const PRINTED = 5000; // lines that are drawn for printing

// ---- small helpers ----

function el(tag, className, text, attributes) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = text;
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  return node;
}

// Methods that came later than DecompressionStream, without which there is no source to show.
const last = list => list[list.length - 1];
function refill(node, ...children) {
  node.textContent = '';
  node.append(...children);
}

const missedIn = item => item.statements - item.covered;
/** How many statements the keys lead to: those that did not run, or those that the view is about. */
const stopsIn = item => view.missed ? missedIn(item) : item.covered;
const number = value => value.toLocaleString('en');
const plural = (count, word) => `${number(count)} ${word}${count === 1 ? '' : 's'}`;

function percent({covered, statements}) {
  if (!statements) return '–';
  const value = 100 * covered / statements;
  // Go and Rust print an exact half to even (6.25 as 6.2), toFixed rounds it up.
  return (value % 1 === 0.25 ? value - 0.05 : value).toFixed(1) + ' %';
}

function short(count) {
  let unit = -1, value = count;
  while (value >= 1000 && unit < 4) { value /= 1000; unit++; }
  if (unit < 0) return String(count);
  return (value < 10 ? (Math.floor(value * 10) / 10).toFixed(1) : Math.floor(value)) + 'kMGTP'[unit];
}

function bar(item, node = el('span', 'bar')) {
  node.style.setProperty('--part', item.statements ? 100 * item.covered / item.statements + '%' : '0%');
  node.classList.toggle('none', !item.statements);
  return node;
}

const settings = {
  get(name) { try { return localStorage.getItem('podcov-' + name); } catch { return null; } },
  set(name, value) { try { localStorage.setItem('podcov-' + name, value); } catch { /* storage may be off for file: */ } },
};

let toastTimer;
function toast(text) {
  $('toast').textContent = text;
  $('toast').classList.add('on');
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => $('toast').classList.remove('on'), 2500);
}

/** Rows of one height, of which only those in view (and a few around) are in the document. */
function virtualList(scroller, draw) {
  const space = el('div', 'space'), body = el('div', 'rows');
  space.append(body);
  scroller.append(space);
  const height = parseFloat(getComputedStyle(scroller).getPropertyValue('--row'));
  let count = 0, from = 0, to = 0;

  function fill(first, last) {
    if (first >= to || last <= from) { refill(body); from = to = first; }
    while (from < first) { body.firstChild.remove(); from++; }
    while (to > last) { body.lastChild.remove(); to--; }
    while (from > first) body.prepend(draw(--from));
    while (to < last) body.append(draw(to++));
    body.style.top = from * height + 'px';
  }
  function update() {
    const top = scroller.scrollTop;
    fill(Math.min(count, Math.max(0, Math.floor(top / height) - 12)),
      Math.min(count, Math.ceil((top + scroller.clientHeight) / height) + 12));
  }
  function clear() { refill(body); from = to = 0; }
  scroller.addEventListener('scroll', update, {passive: true});
  new ResizeObserver(update).observe(scroller);
  return {
    space,
    reset(newCount) { clear(); count = newCount; space.style.height = count * height + 'px'; update(); },
    redraw() { clear(); update(); },
    fill(limit) { fill(0, Math.min(count, limit)); },
    update,
    row: i => body.children[i - from],
    /** Scrolls row i into view; when it is near an edge or outside, to the given part of the height. */
    reveal(i, margin = 0, part = 0) {
      const top = i * height, view = scroller.clientHeight;
      if (part && (top < scroller.scrollTop + margin || top > scroller.scrollTop + view - margin - height)) scroller.scrollTop = top - view * part;
      else if (top < scroller.scrollTop) scroller.scrollTop = top;
      else if (top + height > scroller.scrollTop + view) scroller.scrollTop = top + height - view;
      update();
    },
  };
}

// ---- the file tree ----

const lowerPaths = files.map(file => file.path.toLowerCase());
const folders = [];
let rows = []; // what the tree shows: {node, level, position, size}
let order = []; // numbers of the files the filter lets through, in the order of the tree
let sorting = {by: 'name', reversed: false};
let active = null; // the tree's node with the keyboard

function folder(name, path, parent) {
  const node = {name, path, parent, children: [], covered: 0, statements: 0, open: true, shut: false};
  folders.push(node);
  return node;
}

function buildTree() {
  const root = folder('', '', null), byPath = new Map([['', root]]);
  const leaves = files.map((file, n) => {
    const parts = file.path.split('/');
    let node = root, path = '';
    for (const part of parts.slice(0, -1)) {
      path += part + '/';
      let next = byPath.get(path);
      if (!next) {
        next = folder(part, path.slice(0, -1), node);
        byPath.set(path, next);
        node.children.push(next);
      }
      node = next;
    }
    const leaf = {name: last(parts), path: file.path, parent: node, n, covered: file.covered, statements: file.statements};
    node.children.push(leaf);
    for (let up = node; up; up = up.parent) { up.covered += file.covered; up.statements += file.statements; }
    return leaf;
  });
  joinChains(root);
  return {root, leaves};
}

function joinChains(node) {
  node.children = node.children.map(child => {
    if (!child.children) return child;
    let name = child.name;
    while (child.children.length === 1 && child.children[0].children) {
      child = child.children[0];
      name += '/' + child.name;
    }
    child.name = name;
    child.parent = node;
    joinChains(child);
    return child;
  });
}

const sortKey = node => node.children ? node.name + '/' : node.name;
const byName = (a, b) => sortKey(a) < sortKey(b) ? -1 : 1;
const comparators = {
  name: byName,
  rate: (a, b) => a.covered / a.statements - b.covered / b.statements,
  missed: (a, b) => stopsIn(b) - stopsIn(a),
};

function sortTree(node) {
  const compare = comparators[sorting.by], sign = sorting.reversed ? -1 : 1, rated = sorting.by === 'rate';
  node.children.sort((a, b) => {
    if (rated && !(a.statements && b.statements)) return !a.statements - !b.statements || byName(a, b);
    return sign * compare(a, b) || byName(a, b);
  });
  for (const child of node.children) if (child.children) sortTree(child);
}

function layoutTree() {
  const words = $('search').value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = {covered: 0, statements: 0};
  rows = [];
  order = [];
  walk(root, 1, true);
  function walk(node, level, visible) {
    const siblings = [];
    for (const child of node.children) {
      const row = {node: child, level, position: siblings.length + 1, size: 0}, length = rows.length, hits = order.length;
      if (!child.children) {
        if (!words.every(word => lowerPaths[child.n].includes(word))) continue;
        order.push(child.n);
        found.covered += child.covered;
        found.statements += child.statements;
        if (visible) rows.push(row);
      } else {
        if (visible) rows.push(row);
        row.open = words.length ? !child.shut : child.open;
        walk(child, level + 1, visible && row.open);
        if (order.length === hits) { rows.length = length; continue; }
      }
      siblings.push(row);
    }
    for (const row of siblings) row.size = siblings.length;
  }
  $('shown').textContent = words.length
    ? `${number(order.length)} of ${plural(files.length, 'file')} · ${percent(found)}`
    : plural(files.length, 'file');
  if (!rows.some(row => row.node === active)) active = null;
  treeList.reset(rows.length);
  markActive();
}

function drawTreeRow(i) {
  const {node, level, position, size, open} = rows[i];
  const row = el('div', 'row', null, {
    role: 'treeitem', id: 'row-' + i, title: node.path, 'data-path': node.path,
    'aria-level': level, 'aria-posinset': position, 'aria-setsize': size,
    'aria-selected': node.n !== undefined && node.n === state.file,
  });
  row.style.setProperty('--level', level - 1);
  if (node.children) row.setAttribute('aria-expanded', open);
  row.classList.toggle('active', node === active);
  row.append(
    el('span', 'twisty'),
    el('span', 'name', node.name || '/'),
    el('span', 'counts', `${node.covered}/${node.statements}`, {title: `${number(node.covered)} of ${plural(node.statements, 'statement')} ${view.covered}`}),
    bar(node),
    el('span', 'percent', percent(node)));
  return row;
}

function markActive() {
  const i = rows.findIndex(row => row.node === active), old = $('tree').querySelector('.active');
  old?.classList.remove('active');
  if (i < 0) return $('tree').removeAttribute('aria-activedescendant');
  treeList.row(i)?.classList.add('active');
  $('tree').setAttribute('aria-activedescendant', 'row-' + i);
}

function setOpen(row, open) {
  if ($('search').value.trim()) row.node.shut = !open; else row.node.open = open;
  layoutTree();
}

function choose(row) {
  active = row.node;
  if (row.node.children) return setOpen(row, !row.open);
  markActive();
  navigate(row.node.n);
  toggleDrawer(false);
}

function revealInTree(n) {
  const filtered = $('search').value.trim() !== '';
  let opened = false;
  for (let up = leaves[n].parent; up; up = up.parent) {
    if (filtered ? up.shut : !up.open) opened = true;
    if (filtered) up.shut = false; else up.open = true;
  }
  active = leaves[n];
  if (opened) layoutTree();
  const i = rows.findIndex(row => row.node === active);
  if (i >= 0) treeList.reveal(i, 0, 0.4);
  treeList.redraw();
  markActive();
}

function treeKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || !rows.length) return;
  const at = rows.findIndex(row => row.node === active), row = rows[at];
  const page = Math.max(1, Math.floor($('tree').clientHeight / 26) - 1);
  const moves = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1, PageDown: at + page, PageUp: at - page};
  let target = moves[event.key];
  if (event.key === 'ArrowRight' && row?.node.children) {
    if (row.open) target = at + 1; else setOpen(row, true);
  } else if (event.key === 'ArrowLeft' && row) {
    if (row.open) setOpen(row, false); else target = rows.findIndex(other => other.node === row.node.parent);
  } else if ((event.key === 'Enter' || event.key === ' ') && row) {
    choose(row);
  } else if (target === undefined) return;
  event.preventDefault();
  if (target === undefined || (event.key === 'ArrowLeft' && target < 0)) return;
  target = Math.max(0, Math.min(rows.length - 1, target));
  active = rows[target].node;
  treeList.reveal(target);
  markActive();
}

function setSort(by) {
  sorting = {by, reversed: sorting.by === by && !sorting.reversed};
  sortTree(root);
  markSort();
  layoutTree();
  $('tree').scrollTop = 0;
}

function markSort() {
  for (const button of document.querySelectorAll('[data-sort]')) {
    const on = button.dataset.sort === sorting.by;
    button.setAttribute('aria-pressed', on);
    button.classList.toggle('reversed', on && sorting.reversed);
  }
}

function foldAll() {
  const filtered = $('search').value.trim() !== '';
  const shown = folders.filter(node => node !== root);
  const unfold = !shown.some(node => filtered ? !node.shut : node.open);
  for (const node of shown) if (filtered) node.shut = !unfold; else node.open = unfold;
  layoutTree();
}

/** Opens folders level by level, as long as the list stays readable at a glance. */
function openSome(limit) {
  for (const node of folders) node.open = false;
  let level = [root], total = 0;
  while (level.length && total + level.reduce((sum, node) => sum + node.children.length, 0) <= limit) {
    for (const node of level) { node.open = true; total += node.children.length; }
    level = level.flatMap(node => node.children.filter(child => child.children));
  }
  root.open = true;
}

// ---- the data of a file ----

const models = new Map(); // the last few files, unpacked

async function load(n) {
  let model = models.get(n);
  if (!model) model = prepare(n, await unpack(n));
  models.delete(n);
  models.set(n, model);
  if (models.size > 8) models.delete(models.keys().next().value);
  return model;
}

async function unpack(n) {
  if (typeof DecompressionStream === 'undefined') {
    throw new Error('This browser cannot unpack the source (it has no DecompressionStream). Chrome and Edge can from version 80, Firefox from 113, Safari from 16.4.');
  }
  const packed = $('file-' + n);
  if (!packed) throw new Error('The data of this file is not in the report.');
  const binary = atob(packed.textContent.trim()), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  try {
    return await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).json();
  } catch (error) {
    throw new Error('The data of this file is damaged: ' + error.message);
  }
}

function prepare(n, data) {
  const blocks = blocksIn(view, data), functions = functionsIn(data, blocks);
  const model = {n, blocks, functions, suites: data.suites || [], lines: null, byLine: [], missed: [], max: 0, stale: false, scroll: 0, whole: new Set()};
  blocks.forEach(([, , , , statements, count], b) => {
    if (statements && Boolean(count) === view.run) model.missed.push(b);
    model.max = Math.max(model.max, count);
  });
  if (typeof data.source !== 'string') return model;
  const lines = model.lines = data.source.split(/\r?\n/);
  if (lines.length > 1 && last(lines) === '') lines.pop();
  data.blocks.forEach(([startLine, , endLine, endColumn, statements, count], b) => {
    const lastLine = endColumn === 1 && endLine > startLine ? endLine - 1 : endLine; // a block that ends at column 1 has nothing of that line
    if (lastLine > lines.length) model.stale = true;
    if (!statements && !count) return; // nothing in there could be covered: left plain
    for (let line = startLine; line <= Math.min(lastLine, lines.length); line++) (model.byLine[line] || (model.byLine[line] = [])).push(b);
  });
  model.states = new Uint8Array(lines.length);
  let syntax = 0;
  model.columns = 0;
  lines.forEach((line, i) => {
    model.states[i] = syntax;
    syntax = findComments(line, syntax);
    let width = Math.min(line.length, LONG), tab = -1;
    while (width < LONG && (tab = line.indexOf('\t', tab + 1)) >= 0) width += 7;
    model.columns = Math.max(model.columns, width);
  });
  return model;
}

/** The functions, each with the statements that the view counts. */
function functionsIn(data, blocks) {
  let end = 0;
  return data.functions.map(([name, line, , statements, size]) => {
    const own = blocks.slice(end, end += size).filter(block => Boolean(block[5]) === (view.missed !== null || view.run));
    return [name, line, own.reduce((sum, block) => sum + block[4], 0), statements];
  });
}

/** Go's comments in a line. State in and out: 0 code, 1 inside a comment, 2 inside a raw string. */
function findComments(text, syntax, out) {
  const token = /\/\/|\/\*|["'`]/g;
  let at = 0, start = 0;
  for (;;) {
    if (syntax) {
      const mark = syntax === 1 ? '*/' : '`', end = text.indexOf(mark, at), stop = end < 0 ? text.length : end + mark.length;
      if (syntax === 1) out?.push([start, stop]);
      if (end < 0) return syntax;
      at = stop;
      syntax = 0;
    }
    token.lastIndex = at;
    const match = token.exec(text);
    if (!match) return 0;
    start = match.index;
    at = start + match[0].length;
    if (match[0] === '//') { out?.push([start, text.length]); return 0; }
    if (match[0] === '/*') syntax = 1;
    else if (match[0] === '`') syntax = 2;
    else {
      while (at < text.length && text[at] !== match[0]) at += text[at] === '\\' ? 2 : 1;
      at++;
    }
  }
}

/** From byte columns (from 1, as Go counts) to places in the string. */
function columnMap(text) {
  if (!/[^\x00-\x7f]/.test(text)) return column => Math.min(Math.max(column - 1, 0), text.length);
  const places = [];
  for (let i = 0; i < text.length; i++) {
    const code = text.codePointAt(i);
    const bytes = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (let k = 0; k < bytes; k++) places.push(i);
    if (bytes === 4) i++;
  }
  return column => column > places.length ? text.length : places[Math.max(column - 1, 0)];
}

/** Cuts a line into [from, to, block or -1]; where blocks nest (function literals) the inner one counts. */
function segmentsOf(model, line, text) {
  const out = [], stack = [], map = columnMap(text);
  let at = 0;
  const advance = to => {
    while (at < to) {
      const top = last(stack), end = top ? Math.min(top.end, to) : to;
      if (end > at) { out.push([at, end, top ? top.block : -1]); at = end; }
      if (top && top.end <= at) stack.pop();
    }
  };
  for (const b of model.byLine[line] ?? []) {
    const [startLine, startColumn, endLine, endColumn] = model.blocks[b];
    const start = startLine < line ? 0 : map(startColumn), end = endLine > line ? text.length : map(endColumn);
    if (end <= start) continue;
    advance(start);
    stack.push({end, block: b});
  }
  advance(text.length);
  return out;
}

// ---- drawing the source ----

// What would not show, break the line or turn it round (the "Trojan Source" marks) is shown as a symbol.
const UNSEEN = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;
const seen = mark => {
  const code = mark.charCodeAt(0);
  return code < 0x20 ? String.fromCharCode(0x2400 + code) : code === 0x7f ? '\u2421' : `‹U+${code.toString(16).toUpperCase().padStart(4, '0')}›`;
};

function write(parent, text, from, to, comments) {
  for (const [start, end] of comments) {
    if (end <= from) continue;
    if (start >= to) break;
    if (start > from) parent.append(text.slice(from, start).replace(UNSEEN, seen));
    from = Math.max(from, start);
    parent.append(el('i', 'comment', text.slice(from, Math.min(end, to)).replace(UNSEEN, seen)));
    from = Math.min(end, to);
  }
  if (from < to) parent.append(text.slice(from, to).replace(UNSEEN, seen));
}

function heat(count, max) {
  return max > 1 ? Math.log(count) / Math.log(max) : 0.5;
}

function drawLine(i) {
  const model = state.model, line = i + 1, text = model.lines[i];
  const segments = segmentsOf(model, line, text);
  const shown = text.length > LONG && !model.whole.has(i) ? LONG : text.length;
  const comments = [];
  if (shown === text.length && shown <= 20 * LONG) findComments(text, model.states[i], comments);
  const indent = text.search(/[^\t ]/);
  const code = el('code');
  for (const [from, end, b] of segments) {
    const to = Math.min(end, shown);
    if (from >= to) break;
    if (b < 0 || !isShown(model, b)) { write(code, text, from, to, comments); continue; }
    // The indentation is part of the block but not worth an underline.
    const inner = from < indent ? Math.min(indent, to) : from;
    if (from < inner) code.append(blockSpan(model, b, 'indent', text, from, inner, []));
    if (inner < to) code.append(blockSpan(model, b, '', text, inner, to, comments));
  }
  if (shown < text.length) {
    const hidden = segments.filter(([, end, b]) => end > shown && b >= 0 && isShown(model, b) && !model.blocks[b][5]).length;
    const more = el('button', 'more', `… ${number(text.length - shown)} more characters${hidden ? ', some not covered' : ''}`, {type: 'button'});
    more.addEventListener('click', () => { model.whole.add(i); sourceList.redraw(); });
    code.append(more);
  }
  const row = el('div', 'line', null, {'data-line': line});
  if (line === state.line) row.classList.add('target');
  row.append(drawGutter(model, line, text, segments, row), code);
  return row;
}

/** Whether the view is about a block. */
const isShown = (model, b) => model.blocks[b][4] > 0 || model.blocks[b][5] > 0;

function blockSpan(model, b, extra, text, from, to, comments) {
  const count = model.blocks[b][5];
  const span = el('span', (count ? 'covered ' : 'uncovered ') + extra);
  if (b === state.current) span.classList.add('current');
  if (count && counted) {
    span.style.setProperty('--heat', heat(count, model.max).toFixed(2));
    span.title = plural(count, 'time');
  }
  write(span, text, from, to, comments);
  return span;
}

function drawGutter(model, line, text, segments, row) {
  const gutter = el('span', 'gutter');
  let own = segments.filter(segment => segment[2] >= 0);
  // The brace that opens or closes a block should not decide for the rest of its line.
  const telling = own.filter(([from, to]) => /[^\s{}();,]/.test(text.slice(from, Math.min(to, from + LONG))));
  if (telling.length) own = telling;
  let mark = '', title = '';
  const shown = own.filter(segment => isShown(model, segment[2]));
  if (shown.length) {
    const counts = shown.map(segment => model.blocks[segment[2]][5]);
    const most = counts.reduce((a, b) => Math.max(a, b)), some = counts.includes(0);
    row.classList.add(!most ? 'miss' : some ? 'partial' : 'hit');
    mark = counted ? short(most) : !most ? '✕' : some ? '◐' : '';
    title = !most ? 'not covered' : (counted ? plural(most, 'time') : 'covered') + (some ? ', but part of the line is not covered' : '');
  }
  const link = el('a', 'number', line, {href: hashOf(model.n, line), tabindex: -1});
  gutter.append(link, el('span', 'count', mark, title && {title, role: 'img', 'aria-label': title}));
  if (suites.length) gutter.append(drawMarks(model, own.map(segment => segment[2])));
  gutter.append(el('span', 'side'));
  return gutter;
}

/** A mark for each suite, filled if it ran any of these blocks. */
function drawMarks(model, blocks) {
  const most = model.suites.map(counts => blocks.reduce((most, b) => Math.max(most, counts[b] || 0), 0));
  const title = suites.map(({name}, s) => `${name}: ${!most[s] ? 'not covered' : counted ? plural(most[s], 'time') : 'covered'}`).join(', ');
  const marks = el('span', 'marks', null, blocks.length ? {title, role: 'img', 'aria-label': title} : {});
  if (suites.length <= MARKS) most.forEach(count => marks.append(el('i', blocks.length && count ? 'ran' : '')));
  return marks;
}

function drawBlockTable(model) {
  const table = el('table', 'blocks'), head = el('tr'), body = el('tbody');
  for (const title of ['Lines', 'Statements', 'Count', '']) head.append(el('th', '', title, {scope: 'col'}));
  model.blocks.forEach(([startLine, startColumn, endLine, endColumn, statements, count], b) => {
    const missed = statements && !count;
    const row = el('tr', missed ? 'uncovered' : count ? 'covered' : '', null, {'data-block': b});
    row.append(el('td', '', `${startLine}:${startColumn} – ${endLine}:${endColumn}`), el('td', '', number(statements)),
      el('td', '', number(count)), el('td', 'word', missed ? '✕ not covered' : count ? 'covered' : 'no statement'));
    body.append(row);
  });
  const top = el('thead');
  top.append(head);
  table.append(top, body);
  refill($('missing'),
    el('h2', '', 'The source of this file is not in the report'),
    el('p', '', files[model.n].problem || 'No reason was given.'), table);
}

function drawFunctions(model) {
  const list = el('ul');
  for (const [name, line, covered, statements] of model.functions) {
    const item = el('li'), link = el('a', '', null, {href: hashOf(model.n, line), title: `${name}, line ${line}: ${covered} of ${plural(statements, 'statement')}`});
    link.append(el('span', 'name', name), bar({covered, statements}), el('span', 'percent', percent({covered, statements})));
    item.append(link);
    list.append(item);
  }
  refill($('functions'), el('h2', '', plural(model.functions.length, 'function')), list);
}

function drawLegend(model) {
  const entry = (className, text, sample) => {
    const item = el('span', 'key');
    item.append(el('span', className, sample), text);
    return item;
  };
  const parts = [];
  if (counted && model.max > 1) {
    const low = el('span', 'covered', 'run'), high = el('span', 'covered', 'run');
    low.style.setProperty('--heat', 0);
    high.style.setProperty('--heat', 1);
    const item = el('span', 'key');
    item.append(low, 'once to ', high, `${short(model.max)} times`);
    parts.push(item);
  } else if (view.missed || view.run) parts.push(entry('covered', view.covered, 'run'));
  if (!view.run) parts.push(entry('uncovered', view.missed || view.covered, 'code'));
  parts.push(entry('', view.missed ? 'not counted' : 'all other', 'plain'));
  if (suites.length && suites.length <= MARKS) {
    const marks = el('span', 'marks');
    marks.title = 'Suites that ran a part of the line';
    suites.forEach(() => marks.append(el('i', 'ran')));
    const item = el('span', 'key');
    item.append(marks, suites.map(suite => suite.name).join(', '));
    parts.push(item);
  }
  parts.push(entry('sidekey miss', 'no part covered'), entry('sidekey partial', 'a part'), entry('sidekey hit', 'all of the line'));
  refill($('legend'), ...parts);
}

// ---- what is shown ----

const state = {file: -1, model: null, line: 0, current: -1, ticket: 0};

function hashOf(n, line) {
  // encodeURI leaves '#' alone, and '%' must not be read back as an escape.
  return '#' + encodeURI(files[n].path).replace(/#/g, '%23') + (line ? ':' + line : '');
}

function parseHash() {
  let text = location.hash.slice(1);
  try { text = decodeURIComponent(text); } catch { /* not ours: taken as it is */ }
  const whole = fileNumbers.get(text);
  if (whole !== undefined) return {n: whole, line: 0, text};
  const match = /^(.*):(\d+)$/s.exec(text), n = match && fileNumbers.get(match[1]);
  return {n: n ?? -1, line: n === undefined || n === null ? 0 : Number(match[2]), text};
}

function navigate(n, line = 0, block = -1) {
  const hash = hashOf(n, line);
  // Steps inside a file replace the entry: "back" should leave the file, not undo each step.
  const method = block >= 0 && n === state.file ? 'replaceState' : 'pushState';
  if (hash !== location.hash || block >= 0) history[method]({block}, '', hash);
  return show(n, line, block);
}

function route() {
  const {n, line, text} = parseHash();
  if (n >= 0) return show(n, line, history.state?.block ?? -1);
  showStart();
  if (text) toast(`This report has no file “${text.slice(0, 200)}”.`);
}

async function show(n, line = 0, block = -1) {
  const ticket = ++state.ticket, other = n !== state.file;
  if (state.model) state.model.scroll = scroller().scrollTop;
  Object.assign(state, {file: n, line, current: block});
  let model = null, failure = '';
  try { model = await load(n); } catch (error) { failure = error.message; }
  if (ticket !== state.ticket) return;
  state.model = model;
  state.current = model?.missed.includes(block) ? block : -1;
  if (other || !model) {
    drawFileBar(n, model, failure);
    revealInTree(n);
  }
  if (!model) return sourceList.reset(0);
  if (model.lines) drawSource(model, other);
  else drawBlocks(model, other);
  markPosition();
}

const scroller = () => $('missing').hidden ? $('source') : $('missing');

function drawFileBar(n, model, failure) {
  const file = files[n], slash = file.path.lastIndexOf('/') + 1;
  $('start').hidden = true;
  $('file').hidden = false;
  document.title = `${file.path.slice(slash)} · ${index.title}`;
  refill($('path'), el('span', 'folder', file.path.slice(0, slash)), file.path.slice(slash));
  $('path').title = file.path;
  refill($('figures'), el('b', '', percent(file)), bar(file), el('span', 'counts', `${number(file.covered)} of ${plural(file.statements, 'statement')}${view === views[0] ? '' : ' ' + view.covered}`));
  const notice = failure || (model?.stale ? 'The profile does not fit this source: it has blocks past the end of the file. The colours may be wrong.' : '');
  $('notice').textContent = notice;
  $('notice').hidden = !notice;
  $('source').hidden = !model?.lines;
  $('missing').hidden = !model || Boolean(model.lines);
  $('legend').hidden = !model?.lines;
  refill($('functions'));
  if (!model) { $('position').textContent = ''; return; }
  drawFunctions(model);
  if (model.lines) drawLegend(model); else drawBlockTable(model);
}

function drawSource(model, other) {
  const source = $('source');
  if (other) {
    source.style.setProperty('--digits', Math.max(3, String(model.lines.length).length));
    source.style.setProperty('--columns', model.columns);
    sourceList.reset(model.lines.length);
    source.scrollLeft = 0;
    source.scrollTop = state.line || state.current >= 0 ? 0 : model.scroll;
  }
  const start = state.current >= 0 ? model.blocks[state.current] : null;
  const line = Math.min(start ? start[0] : state.line, model.lines.length);
  if (start && line && start[1] > LONG - 200) model.whole.add(line - 1);
  if (line) sourceList.reveal(line - 1, 60, 0.3);
  sourceList.redraw();
  if (start) revealColumn(source, source.querySelector('.current:not(.indent)'));
}

function revealColumn(source, span) {
  if (!span) return;
  const box = span.getBoundingClientRect(), view = source.getBoundingClientRect();
  const left = view.left + source.querySelector('.gutter').offsetWidth;
  if (box.left < left || box.left > view.right - 80) source.scrollLeft += box.left - left - (view.right - left) * 0.3;
}

function drawBlocks(model, other) {
  const current = state.current >= 0 ? state.current : model.blocks.findIndex(block => state.line && block[2] >= state.line);
  $('missing').querySelector('.current, .target')?.classList.remove('current', 'target');
  if (current < 0) { if (other) $('missing').scrollTop = model.scroll; return; }
  const row = $('missing').querySelector(`[data-block="${current}"]`);
  row.classList.add(state.current >= 0 ? 'current' : 'target');
  row.scrollIntoView({block: 'center'});
}

function markPosition() {
  const {missed} = state.model, at = missed.indexOf(state.current);
  $('position').textContent = missed.length ? `${at < 0 ? '–' : at + 1} / ${number(missed.length)} ${view.stops}` : `nothing ${view.stops}`;
}

function showStart() {
  state.ticket++;
  if (state.model) state.model.scroll = scroller().scrollTop;
  Object.assign(state, {file: -1, model: null, line: 0, current: -1});
  $('file').hidden = true;
  $('start').hidden = false;
  document.title = index.title;
  treeList.redraw();
}

function drawStart() {
  const tile = (value, label) => {
    const node = el('div', 'tile');
    node.append(el('b', '', value), el('span', '', label));
    return node;
  };
  const page = el('div', 'page'), tiles = el('div', 'tiles');
  const counting = files.filter(file => file.statements);
  const lost = files.filter(file => file.problem).length;
  tiles.append(tile(number(files.length), files.length === 1 ? 'file' : 'files'), tile(number(stopsIn(index)), 'statements ' + view.stops));
  if (view.missed) {
    tiles.append(tile(number(counting.filter(file => !missedIn(file)).length), 'files fully covered'),
      tile(number(counting.filter(file => !file.covered).length), 'files not covered at all'));
  }
  page.append(el('h1', '', index.title), el('p', 'big', percent(index)), bar(index, el('div', 'bar')),
    el('p', 'sub', `${number(index.covered)} of ${plural(index.statements, 'statement')} ${view.covered}`), tiles);
  if (suites.length) page.append(...drawSuites());
  const worst = files.map((file, n) => ({...file, n})).filter(stopsIn).sort((a, b) => stopsIn(b) - stopsIn(a) || a.n - b.n).slice(0, 10);
  if (worst.length) {
    const list = el('ol', 'worst');
    for (const file of worst) {
      const item = el('li'), link = el('a', '', null, {href: hashOf(file.n), title: file.path}), slash = file.path.lastIndexOf('/') + 1, name = el('span', 'name');
      name.append(el('span', 'folder', file.path.slice(0, slash)), file.path.slice(slash));
      link.append(name, el('span', 'counts', `${number(stopsIn(file))} ${view.stops}`), bar(file), el('span', 'percent', percent(file)));
      item.append(link);
      list.append(item);
    }
    page.append(el('h2', '', view === views[0] ? 'Most uncovered statements' : 'Most statements ' + view.stops), list);
  } else if (view === views[0]) page.append(el('p', 'sub', index.statements ? 'Every statement is covered.' : 'There are no statements in this report.'));
  else page.append(el('p', 'sub', `No statement is ${view.stops}.`));
  if (lost) page.append(el('p', 'sub', `The source of ${plural(lost, 'file')} is not in the report.`));
  const about = [`Mode ${index.mode}`];
  const date = index.generated && new Date(index.generated);
  if (date && !Number.isNaN(date.getTime())) about.unshift(`Generated ${date.toISOString().slice(0, 16).replace('T', ' ')} UTC`);
  page.append(el('p', 'sub about', about.join(' · ')));
  refill($('start'), page);
}

// ---- suites ----

/** The statements of all files that a view counts. */
const totalOf = view => ({covered: files.reduce((sum, file) => sum + view.of(file), 0), statements: index.statements});

function drawSuites() {
  const list = el('ul', 'worst');
  views.slice(1).forEach((other, i) => {
    const item = el('li'), none = !other.missed && !other.run;
    const button = el('button', none ? 'in-none' : '', null, {type: 'button', 'aria-pressed': other === view}), total = totalOf(other);
    button.append(el('span', 'name', other.label), el('span', 'counts', `${number(total.covered)} of ${plural(total.statements, 'statement')}`), bar(total), el('span', 'percent', percent(total)));
    button.addEventListener('click', () => enqueue(() => showView(i + 1)));
    item.append(button);
    list.append(item);
  });
  const carried = suites.filter(suite => suite.carried_from);
  return [el('h2', '', 'Suites'), list,
    ...carried.map(suite => el('p', 'sub', `${suite.name} did not run: its coverage is carried forward from ${suite.carried_from}.`))];
}

function countView() {
  for (const file of files) file.covered = view.of(file);
  index.covered = totalOf(view).covered;
  for (const node of folders) node.covered = 0;
  for (const leaf of leaves) {
    leaf.covered = files[leaf.n].covered;
    for (let up = leaf.parent; up; up = up.parent) up.covered += leaf.covered;
  }
  document.documentElement.dataset.view = view.missed ? '' : view.run ? 'only' : 'none';
  document.querySelector('[data-sort=missed]').textContent = view.missed ? 'Uncovered' : 'Most';
  $('suites').value = views.indexOf(view);
  drawTotal();
}

async function showView(i) {
  view = views[i];
  countView();
  models.clear();
  sortTree(root);
  layoutTree();
  drawStart();
  if (state.file < 0) return;
  const {file, line} = state, top = scroller().scrollTop;
  state.file = -1; // so that all of it is drawn again
  await show(file, line);
  scroller().scrollTop = top;
}

function stepView(direction) {
  if (views.length < 2) return;
  const i = (views.indexOf(view) + direction + views.length) % views.length;
  toast(views[i].label);
  return showView(i);
}

// ---- moving about ----

let queue = Promise.resolve(); // keys may come faster than files are unpacked
function enqueue(action) {
  queue = queue.then(action).catch(error => toast(String(error)));
}

function neighbour({missed, blocks}, direction) {
  if (state.current >= 0) return missed[missed.indexOf(state.current) + direction];
  if (direction > 0) return missed.find(b => blocks[b][0] >= state.line);
  return last(missed.filter(b => blocks[b][0] < state.line));
}

async function step(direction) {
  const here = state.model && neighbour(state.model, direction);
  if (here !== undefined && here !== null) return navigate(state.file, state.model.blocks[here][0], here);
  for (const n of following(direction)) {
    if (!stopsIn(files[n])) continue;
    const model = await load(n);
    if (!model.missed.length) continue;
    const block = direction > 0 ? model.missed[0] : last(model.missed);
    await navigate(n, model.blocks[block][0], block);
    return;
  }
  const what = view === views[0] ? 'uncovered block' : `block ${view.stops}`;
  toast(`No ${what} ${direction > 0 ? 'after' : 'before'} this one`);
}

function following(direction) {
  const at = order.indexOf(state.file);
  if (direction > 0) return order.slice(at + 1);
  return order.slice(0, at < 0 ? order.length : at).reverse();
}

function stepFile(direction) {
  const n = following(direction)[0];
  if (n === undefined) return toast(direction > 0 ? 'This is the last file' : 'This is the first file');
  return navigate(n);
}

const keys = {
  n: () => enqueue(() => step(1)), p: () => enqueue(() => step(-1)),
  j: () => enqueue(() => step(1)), k: () => enqueue(() => step(-1)),
  ']': () => enqueue(() => stepFile(1)), '[': () => enqueue(() => stepFile(-1)),
  s: () => enqueue(() => stepView(1)), S: () => enqueue(() => stepView(-1)),
  '?': () => $('help').showModal(),
  '/': () => { toggleDrawer(true); $('search').focus(); $('search').select(); },
  Escape: () => toggleDrawer(false),
};

function globalKey(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.target.closest?.('input, select, textarea')) return;
  // AltGr, with which many keyboards type brackets, may come as Alt.
  if (event.altKey && !'[]'.includes(event.key)) return;
  if ($('help').open) { if (event.key === '?') $('help').close(); return; }
  if (!Object.prototype.hasOwnProperty.call(keys, event.key)) return;
  event.preventDefault();
  keys[event.key]();
}

function toggleDrawer(open) {
  document.body.classList.toggle('drawer', open);
  $('menu').setAttribute('aria-expanded', open);
}

// ---- settings ----

const darkness = matchMedia('(prefers-color-scheme: dark)');
function applyTheme() { // as the script in the page's head
  document.documentElement.dataset.theme = settings.get('theme') || (darkness.matches ? 'dark' : 'light');
}

function applyTabs() {
  const width = settings.get('tabs') === '8' ? 8 : 4;
  $('source').style.tabSize = width;
  $('tabs').textContent = 'Tab ' + width;
}

function showFunctions(on) {
  $('functions').hidden = !on;
  $('functions-toggle').setAttribute('aria-expanded', on);
}

function setSideWidth(width) {
  width = Math.round(Math.max(220, Math.min(900, innerWidth - 300, width)));
  document.body.style.setProperty('--side', width + 'px');
  $('split').setAttribute('aria-valuenow', width);
}

// ---- start ----

const {root, leaves} = buildTree();
const fileNumbers = new Map(files.map((file, n) => [file.path, n]));
const treeList = virtualList($('tree'), drawTreeRow);
const sourceList = virtualList($('source'), drawLine);

function listen() {
  $('tree').addEventListener('click', event => {
    const row = event.target.closest('.row');
    if (row) choose(rows[Number(row.id.slice(4))]);
  });
  $('tree').addEventListener('keydown', treeKey);
  $('tree').addEventListener('focus', () => { if (!active && rows.length) { active = rows[0].node; markActive(); } });
  $('search').addEventListener('input', () => {
    for (const node of folders) node.shut = false;
    layoutTree();
    $('tree').scrollTop = 0;
  });
  $('search').addEventListener('keydown', event => {
    if (event.key === 'Escape') {
      event.preventDefault();
      if (!event.target.value) return event.target.blur();
      event.target.value = '';
      event.target.dispatchEvent(new Event('input'));
      if (state.file >= 0) revealInTree(state.file);
    } else if (event.key === 'ArrowDown' || event.key === 'Enter') {
      event.preventDefault();
      active = (event.key === 'Enter' ? rows.find(row => !row.node.children) : rows[0])?.node ?? null;
      $('tree').focus();
      markActive();
      if (event.key === 'Enter' && active) navigate(active.n);
    }
  });
  for (const button of document.querySelectorAll('[data-sort]')) button.addEventListener('click', () => setSort(button.dataset.sort));
  $('fold').addEventListener('click', foldAll);
  $('next').addEventListener('click', keys.n);
  $('previous').addEventListener('click', keys.p);
  $('help-open').addEventListener('click', keys['?']);
  $('help').addEventListener('click', event => { if (event.target === $('help')) $('help').close(); });
  $('menu').addEventListener('click', () => toggleDrawer(!document.body.classList.contains('drawer')));
  $('shade').addEventListener('click', () => toggleDrawer(false));
  $('functions-toggle').addEventListener('click', () => showFunctions($('functions').hidden));
  $('functions').addEventListener('click', event => { if (innerWidth < 800 && event.target.closest('a')) showFunctions(false); });
  $('tabs').addEventListener('click', () => {
    settings.set('tabs', $('source').style.tabSize === '4' ? 8 : 4);
    applyTabs();
  });
  $('suites').addEventListener('change', () => enqueue(() => showView(Number($('suites').value))));
  $('theme').addEventListener('click', () => {
    const theme = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
    document.documentElement.dataset.theme = theme;
    settings.set('theme', theme);
  });
  darkness.addEventListener('change', applyTheme);
  $('split').addEventListener('pointerdown', event => {
    event.preventDefault();
    $('split').setPointerCapture(event.pointerId);
    $('split').onpointermove = move => setSideWidth(move.clientX);
  });
  $('split').addEventListener('lostpointercapture', () => { $('split').onpointermove = null; });
  $('split').addEventListener('keydown', event => {
    const by = {ArrowLeft: -20, ArrowRight: 20}[event.key];
    if (by) setSideWidth($('side').offsetWidth + by);
  });
  document.addEventListener('keydown', globalKey);
  addEventListener('hashchange', route);
  addEventListener('beforeprint', () => sourceList.fill(PRINTED));
  addEventListener('afterprint', () => sourceList.update());
}

function drawTotal() {
  $('total').textContent = percent(index);
  $('total-counts').textContent = `${number(index.covered)} of ${plural(index.statements, 'statement')}`;
  bar(index, $('total-bar'));
}

$('home').textContent = index.title;
refill($('suites'), ...views.map(({label}, i) => el('option', '', label, {value: i})));
$('suites').hidden = !suites.length;
for (const node of document.querySelectorAll('.of-suites')) node.hidden = !suites.length;
drawTotal();
applyTheme();
applyTabs();
showFunctions(innerWidth >= 1100);
if (files.length > 60) openSome(60);
sortTree(root);
markSort();
layoutTree();
drawStart();
listen();
route();
})();
