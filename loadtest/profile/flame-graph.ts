import type { Frame } from './fold.ts';

const WIDTH = 1_400;
const ROW_HEIGHT = 18;
const TITLE_HEIGHT = 28;
/** Narrower frames could neither be seen nor pointed at. */
const LEAST_WIDTH = 0.5;
const CHARACTER_WIDTH = 6.6;
const COLOURS = { own: '#f2b279', dependency: '#a9c7e8', node: '#b5d6a7', engine: '#d5d5d5' };

/** A flame graph, callers above the called, the wider the longer; pointing at a frame tells its figures. */
export function flameGraph(root: Frame, title: string): string {
  const perUs = WIDTH / root.totalUs;
  const shapes: string[] = [];
  let depth = 0;

  function draw(frame: Frame, x: number, level: number): void {
    const width = frame.totalUs * perUs;
    if (width < LEAST_WIDTH) return;
    depth = Math.max(depth, level + 1);
    shapes.push(shape(frame, { x, y: TITLE_HEIGHT + level * ROW_HEIGHT, width, all: root.totalUs }));
    let at = x;
    for (const child of frame.children) {
      draw(child, at, level + 1);
      at += child.totalUs * perUs;
    }
  }
  draw(root, 0, 0);
  const height = TITLE_HEIGHT + depth * ROW_HEIGHT + 4;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="monospace" font-size="11">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="4" y="18" font-size="13">${escaped(title)}</text>
${shapes.join('\n')}
</svg>
`;
}

function shape(frame: Frame, at: { x: number; y: number; width: number; all: number }): string {
  const { x, y, width, all } = at;
  const { name, file, selfUs, totalUs } = frame;
  const percent = (us: number): string => `${((us / all) * 100).toFixed(1)} %`;
  const text = `${name}${file === '' ? '' : ` ${file}`}`;
  const shown = text.slice(0, Math.max(0, Math.floor((width - 6) / CHARACTER_WIDTH)));
  const label =
    shown.length < 3 ? '' : `<text x="${(x + 3).toFixed(1)}" y="${y + 13}">${escaped(shown)}</text>`;
  return `<g><title>${escaped(text)}: ${percent(totalUs)}, itself ${percent(selfUs)}</title><rect x="${x.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${ROW_HEIGHT - 1}" rx="1" fill="${colourOf(file)}"/>${label}</g>`;
}

function colourOf(file: string): string {
  if (file === '') return COLOURS.engine;
  if (file.startsWith('node:')) return COLOURS.node;
  return /^(node_modules\/|wasm:)/.test(file) ? COLOURS.dependency : COLOURS.own;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}
