import { expect, test } from 'vitest';
import { packFrames, unpackFrames } from '../bodies/frames.ts';
import { MAX_HEAD_BYTES, MAX_QUERY_BYTES, readQuery } from './query-text.ts';

const noCheck = () => () => undefined;

/** Chunks that count how many of them were read. */
function body(...chunks: Buffer[]): AsyncIterable<Buffer> & { taken: number } {
  async function* read(): AsyncGenerator<Buffer> {
    for (const chunk of chunks) {
      source.taken += 1;
      yield chunk;
    }
  }
  const source = Object.assign(read(), { taken: 0 });
  return source;
}

async function bytesOf(rows: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of rows) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test('of an INSERT in the URL the body is left alone', async () => {
  const source = body(Buffer.from('1\n'), Buffer.from('2\n'));
  const query = await readQuery(source, 'INSERT INTO t FORMAT CSV', noCheck);
  expect(source.taken).toBe(0);
  expect((await bytesOf(query.rows())).toString()).toBe('1\n2\n');
  expect(
    (
      await bytesOf((await readQuery(body(Buffer.from('(1)')), 'INSERT INTO t VALUES', noCheck)).rows())
    ).toString(),
  ).toBe('\n(1)');
});

test('one chunk far larger than a query is no query, and its words are not read', {
  tags: ['attack'],
}, async () => {
  let words = 0;
  const counting = () => () => {
    words += 1;
  };
  const large = Buffer.alloc(4 * MAX_QUERY_BYTES, '1 ');
  await expect(readQuery(body(large), 'SELECT', counting)).rejects.toMatchObject({ code: 266 });
  expect(words).toBeLessThan(MAX_HEAD_BYTES);
});

test('the rows of a chunk far larger than a query stay whole', async () => {
  const head = Buffer.from('INSERT INTO t FORMAT RowBinary\n');
  const rows = Buffer.alloc(2 * MAX_QUERY_BYTES, 'é');
  const query = await readQuery(body(Buffer.concat([head, rows]), rows), '', noCheck);
  expect(query.statement).toMatchObject({ kind: 'insert-rows', format: 'RowBinary' });
  expect((await bytesOf(query.rows())).equals(Buffer.concat([rows, rows]))).toBe(true);
});

test.each([0, 1, 2, 3, 9, 10, 11])(
  'a format is read whole where %s bytes of its line are behind the head',
  async (behind) => {
    const end = ' FORMAT RowBinary\n';
    const before = 'INSERT INTO t /*';
    const blank = '.'.repeat(MAX_HEAD_BYTES - before.length - 2 - end.length + behind);
    const query = await readQuery(
      body(Buffer.from(`${before}${blank}*/${end}`), Buffer.from('rows')),
      '',
      noCheck,
    );
    expect(query.statement).toMatchObject({ format: 'RowBinary' });
    expect((await bytesOf(query.rows())).toString()).toBe('rows');
  },
);

test('a frame is bounded by what may come next', { tags: ['attack'] }, async () => {
  const content = Buffer.alloc(900_000, 'x');
  let most = content.length;
  const frames = unpackFrames(packFrames(body(content, content)), () => most);
  expect((await frames.next()).value).toHaveLength(content.length);
  most = content.length - 1;
  await expect(frames.next()).rejects.toMatchObject({ code: 113 });
});
