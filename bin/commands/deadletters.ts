import type { JetStreamManager } from '@nats-io/jetstream';
import { connectNats, ensureStreams } from '../../core/clicks/stream.ts';
import { natsServer } from '../../core/config/servers.ts';
import { OperatingError } from '../../core/errors.ts';
import { printable } from '../../core/printable.ts';
import { hideSecrets } from '../../core/secret-forms.ts';
import {
  type DeadLetter,
  getDeadLetter,
  readDeadLetters,
  replayDeadLetter,
  summaryOf,
} from '../../warehouse/loader/dead-letters.ts';
import { readConfig } from '../environment.ts';
import { renderTable } from '../table.ts';

/** How much of a payload `show` prints. */
const SHOWN_BYTES = 512;

/** `afflux deadletters list`: one line each, the oldest first. */
export async function listDeadLetters(): Promise<void> {
  await withStreams(async (manager) => {
    const rows: string[][] = [];
    for await (const letter of readDeadLetters(manager)) rows.push(summary(letter));
    process.stdout.write(rows.length > 0 ? `${renderTable(rows)}\n` : 'There are no dead letters.\n');
  });
}

/** `afflux deadletters show ID`: the original headers and the beginning of the bytes. */
export async function showDeadLetter(text: string): Promise<void> {
  const id = parseId(text);
  await withStreams(async (manager) => {
    const letter = await getDeadLetter(manager, id);
    const lines = [
      printable(summary(letter).join('  ')),
      ...letter.headers.map(([name, value]) => printable(hideSecrets(`${name}: ${value}`))),
      letter.data
        .subarray(0, SHOWN_BYTES)
        .toString('hex')
        .replace(/(.{64})/g, '$1\n'),
    ];
    process.stdout.write(`${lines.join('\n')}\n`);
  });
}

/** `afflux deadletters replay [ids…]`: back into the clicks stream; with `all`, every one that is whole. */
export async function replayDeadLetters(texts: readonly string[], options: { all: boolean }): Promise<void> {
  const given = texts.map(parseId);
  await withStreams(async (manager) => {
    const ids = options.all ? await allWhole(manager) : given;
    if (ids.length === 0) throw new OperatingError('nothing_to_replay', 'name dead letters, or use --all');
    for (const id of ids) {
      const { streamSeq } = await replayDeadLetter(manager, id);
      process.stdout.write(`${id} is message ${streamSeq} of the clicks stream now\n`);
    }
  });
}

async function allWhole(manager: JetStreamManager): Promise<number[]> {
  const ids: number[] = [];
  for await (const letter of readDeadLetters(manager)) if (summaryOf(letter).isWhole) ids.push(letter.id);
  return ids;
}

function summary(letter: DeadLetter): string[] {
  const { id, at, reason, shard, streamSeq, bytes, detail } = letter;
  return [
    String(id),
    at.toISOString(),
    reason,
    `shard ${shard} message ${streamSeq}`,
    `${bytes} bytes`,
    detail,
  ];
}

function parseId(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new OperatingError('no_dead_letter', `${text} is no number of a dead letter`);
}

async function withStreams(work: (manager: JetStreamManager) => Promise<void>): Promise<void> {
  const config = readConfig();
  const nc = await connectNats({ ...natsServer(config), name: 'afflux-deadletters' });
  await ensureStreams(nc, { replicas: config.natsReplicas })
    .then(work)
    .finally(() => nc.close());
}
