/** Faults that a JSON parser accepts: see {@link jsonFault}. */

/** Bodies nest five deep; deeper nesting is an attack on recursive readers. */
const MAX_DEPTH = 32;

const [QUOTE, COMMA, COLON] = [0x22, 0x2c, 0x3a];
const [OPEN_LIST, BACKSLASH, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5c, 0x5d, 0x7b, 0x7d];

/**
 * Why valid JSON is refused, in words; undefined when it is accepted. A repeated member can be one amount to this reader
 * and another to the next (RFC 8259, section 4).
 */
export function jsonFault(json: string): string | undefined {
  /** Of every object that is open, the names it has; null for a list. */
  const open: (Set<string> | null)[] = [];
  let isName = false;
  for (let i = 0; i < json.length; i++) {
    switch (json.charCodeAt(i)) {
      case OPEN_OBJECT:
      case OPEN_LIST:
        isName = json.charCodeAt(i) === OPEN_OBJECT;
        if (open.push(isName ? new Set() : null) > MAX_DEPTH)
          return `is nested deeper than ${MAX_DEPTH} levels`;
        break;
      case CLOSE_OBJECT:
      case CLOSE_LIST:
        open.pop();
        break;
      case COMMA:
        isName = open.at(-1) !== null;
        break;
      case COLON:
        isName = false;
        break;
      case QUOTE: {
        const end = endOfText(json, i);
        const names = isName ? open.at(-1) : null;
        if (names) {
          const name = nameAt(json, i, end);
          if (names.has(name)) return `has the member ${JSON.stringify(name).slice(0, 100)} twice`;
          names.add(name);
        }
        i = end;
        break;
      }
    }
  }
  return undefined;
}

/** Where the text that begins with the quote at `start` has its other quote. */
function endOfText(json: string, start: number): number {
  for (let i = start + 1; i < json.length; i++) {
    const code = json.charCodeAt(i);
    if (code === BACKSLASH) i++;
    else if (code === QUOTE) return i;
  }
  return json.length;
}

function nameAt(json: string, start: number, end: number): string {
  const raw = json.slice(start + 1, end);
  return raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw;
}
