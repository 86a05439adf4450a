import { fromProject } from '../../core/config/paths.ts';

/** What `node --cpu-prof` writes, as far as it is read here: https://chromedevtools.github.io/devtools-protocol/tot/Profiler */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
    readonly children?: readonly number[];
  }[];
  readonly samples: readonly number[];
  /** Microseconds from the sample before to this one. */
  readonly timeDeltas: readonly number[];
}

/** A function called from one place in the tree of calls. */
export interface Frame {
  readonly name: string;
  /** Such as `collector/clicks/answers.ts`, `node:net` or `node_modules/pino/lib/tools.js`; empty for the engine itself. */
  readonly file: string;
  /** Microseconds in the function itself. */
  readonly selfUs: number;
  /** Microseconds in it and in all it called. */
  readonly totalUs: number;
  readonly children: readonly Frame[];
}

/** Time in it belongs to no function. */
const IDLE = '(idle)';

/** The tree of calls, without the time in which nothing ran; calls of one function from the same place are one frame. */
export function fold({ nodes, samples, timeDeltas }: CpuProfile): Frame {
  const selfUs = new Map<number, number>();
  for (const [i, id] of samples.entries()) {
    selfUs.set(id, (selfUs.get(id) ?? 0) + Math.max(0, timeDeltas[i + 1] ?? 0));
  }
  const byId = new Map(nodes.map((node) => [node.id, node]));
  type Node = (typeof nodes)[number];

  function frameOf(same: readonly Node[]): Frame {
    const groups = new Map<string, Node[]>();
    for (const child of same.flatMap(({ children = [] }) => children.flatMap((id) => byId.get(id) ?? []))) {
      if (child.callFrame.functionName === IDLE) continue;
      const key = `${child.callFrame.functionName} ${child.callFrame.url}`;
      groups.set(key, [...(groups.get(key) ?? []), child]);
    }
    const children = [...groups.values()].map(frameOf).toSorted((a, b) => b.totalUs - a.totalUs);
    const own = sum(same.map(({ id }) => selfUs.get(id) ?? 0));
    const { functionName, url } = same[0]?.callFrame ?? { functionName: '', url: '' };
    return {
      name: functionName || '(anonymous)',
      file: sourceOf(url),
      selfUs: own,
      totalUs: own + sum(children.map(({ totalUs }) => totalUs)),
      children,
    };
  }
  const [root] = nodes;
  return frameOf(root ? [root] : []);
}

/** Share of the whole time by function, wherever it was called from; the biggest first. */
export function selfShares(root: Frame): { name: string; file: string; share: number }[] {
  const shares = new Map<string, { name: string; file: string; share: number }>();
  const walk = ({ name, file, selfUs, children }: Frame): void => {
    const key = `${name} ${file}`;
    const share = (shares.get(key)?.share ?? 0) + selfUs / root.totalUs;
    shares.set(key, { name, file, share });
    for (const child of children) walk(child);
  };
  walk(root);
  return [...shares.values()].filter(({ share }) => share > 0).toSorted((a, b) => b.share - a.share);
}

/** Compiled files are named by their source, packages by their place among the dependencies. */
function sourceOf(url: string): string {
  const path = url.replace(/^file:\/\//, '');
  const compiled = `${fromProject('dist')}/`;
  if (path.startsWith(compiled)) return path.slice(compiled.length).replace(/\.js$/, '.ts');
  const at = path.lastIndexOf('node_modules/');
  return at === -1 ? path : path.slice(at);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
