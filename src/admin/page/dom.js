// Elements, without markup: everything that a server or a tenant says goes in as text.

export const byId = (id) => document.getElementById(id);

const SVG = 'http://www.w3.org/2000/svg';

/** An element. Children are nodes or text; an attribute that is null or false is left out. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Changes what has changed: a selection in text that stays the same stays. */
export function setText(element, text) {
  const wanted = String(text);
  const only = element.childNodes.length === 1 ? element.firstChild : null;
  if (only && only.nodeType === Node.TEXT_NODE) {
    if (only.data !== wanted) only.data = wanted;
  } else if (wanted !== '' || element.firstChild) {
    element.textContent = wanted;
  }
}

export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

/** A word with a colour and a mark, so that the colour is never the only sign. Levels: good, warn, bad, none. */
export function pill(word, level) {
  return el('span', { class: 'pill', 'data-level': level }, word);
}

export function setPill(element, word, level) {
  setText(element, word);
  setAttribute(element, 'data-level', level);
}

/** A cell that names its column, for when the table is shown as cards. */
export function cell(label, attributes = {}, ...children) {
  return el('td', { role: 'cell', 'data-label': label, ...attributes }, ...children);
}

export function rowHeader(attributes = {}, ...children) {
  return el('th', { role: 'rowheader', scope: 'row', ...attributes }, ...children);
}

/**
 * Rows that keep their elements: what is shown again is updated in place, so that focus, selection
 * and scroll position survive each sample.
 */
export class Rows {
  #parent;
  #make;
  #rows = new Map();

  /** `make(item)` gives `{ element, update(item) }`. */
  constructor(parent, make) {
    this.#parent = parent;
    this.#make = make;
  }

  /** `moves`: whether rows that are there may change their places. */
  show(items, keyOf, moves = true) {
    const keys = new Set(items.map(keyOf));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    items.forEach((item, place) => {
      const key = keyOf(item);
      let row = this.#rows.get(key);
      const isNew = !row;
      if (isNew) {
        row = this.#make(item);
        this.#rows.set(key, row);
      }
      row.update(item);
      const there = this.#parent.children[place];
      if (there !== row.element && (isNew || moves)) this.#parent.insertBefore(row.element, there ?? null);
    });
  }

  get keys() {
    return [...this.#rows.keys()];
  }

  get(key) {
    return this.#rows.get(key);
  }
}

/** Says something to who does not see the page. What is said twice in a row is heard twice. */
export function announce(text) {
  const announcer = byId('announcer');
  announcer.replaceChildren(el('p', {}, text));
}
