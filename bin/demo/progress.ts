/** A progress bar on the terminal, or a line every tenth of the way where there is none. */
export interface Progress {
  advance(): void;
  done(): void;
}

const WIDTH = 30;
/** Redrawing more often than this costs more than it shows. */
const REDRAW_MS = 100;

export function createProgress(
  label: string,
  total: number,
  out: NodeJS.WriteStream = process.stderr,
): Progress {
  const startedAt = Date.now();
  let count = 0;
  let drawnAt = 0;
  let nextTenth = 1;

  function text(): string {
    const share = total === 0 ? 1 : count / total;
    const filled = Math.round(WIDTH * share);
    const perSecond = Math.round((1_000 * count) / Math.max(1, Date.now() - startedAt));
    return `${label} [${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}] ${count}/${total} (${perSecond}/s)`;
  }

  return {
    advance() {
      count++;
      if (out.isTTY) {
        if (Date.now() - drawnAt < REDRAW_MS && count < total) return;
        drawnAt = Date.now();
        out.write(`\r${text()}`);
      } else if (count * 10 >= nextTenth * total) {
        nextTenth = Math.floor((count * 10) / total) + 1;
        out.write(`${text()}\n`);
      }
    },
    done() {
      if (out.isTTY) out.write(`\r${text()}\n`);
    },
  };
}
