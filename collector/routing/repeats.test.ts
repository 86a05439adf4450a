import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createRepeats, REPEAT_WINDOW_MS } from './repeats.ts';

const ip = randomBytes(16);
const visitor = randomBytes(60);
const START = 1_800_000_000_000;

/** The same bytes with one bit turned over. */
function turned(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

describe('repeats', () => {
  it('are the same address, fingerprint and link, and nothing else', () => {
    const repeats = createRepeats();
    expect(repeats.note(1, ip, visitor, START)).toBe(false);
    expect(repeats.note(1, ip, visitor, START + 1)).toBe(true);
    expect(repeats.note(2, ip, visitor, START + 2)).toBe(false);
    for (let at = 0; at < 16; at++) expect(repeats.note(1, turned(ip, at), visitor, START + 3)).toBe(false);
    for (let at = 0; at < 8; at++) expect(repeats.note(1, ip, turned(visitor, at), START + 4)).toBe(false);
    // Behind the fingerprint stands what it was made of.
    expect(repeats.note(1, ip, turned(visitor, 8), START + 5)).toBe(true);
  });

  it('are noticed within the window after the last click, also when 32 bits of milliseconds overflow', () => {
    for (const start of [START, 2 ** 32 * 400 - REPEAT_WINDOW_MS / 2]) {
      const repeats = createRepeats();
      expect(repeats.note(1, ip, visitor, start)).toBe(false);
      expect(repeats.note(1, ip, visitor, start + REPEAT_WINDOW_MS)).toBe(true);
      expect(repeats.note(1, ip, visitor, start + 2 * REPEAT_WINDOW_MS)).toBe(true);
      expect(repeats.note(1, ip, visitor, start + 3 * REPEAT_WINDOW_MS + 1)).toBe(false);
    }
  });

  it('are found among half a million other clicks, and hardly ever invented', () => {
    const repeats = createRepeats();
    const clicks = 500_000;
    let invented = 0;
    for (let link = 0; link < clicks; link++) if (repeats.note(link, ip, visitor, START)) invented++;
    let found = 0;
    for (let link = 0; link < clicks; link += 50) if (repeats.note(link, ip, visitor, START + 1)) found++;
    expect(invented).toBe(0);
    expect(found).toBeGreaterThan((clicks / 50) * 0.95);
  });
});
