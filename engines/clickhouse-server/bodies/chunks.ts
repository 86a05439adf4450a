/** Bytes of a stream, as many at a time as its format asks for. */
export class Chunks {
  readonly #source: AsyncIterator<Buffer>;
  #left: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** The next `count` bytes, or fewer where the stream ends. */
  async take(count: number): Promise<Buffer> {
    const parts = [this.#left];
    let bytes = this.#left.length;
    while (bytes < count) {
      const next = await this.#source.next();
      if (next.done) break;
      parts.push(next.value);
      bytes += next.value.length;
    }
    const all = parts.length === 1 ? this.#left : Buffer.concat(parts);
    this.#left = all.subarray(count);
    return all.subarray(0, count);
  }
}
