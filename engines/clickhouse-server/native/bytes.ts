import { QueryError } from '../errors.ts';

const INCORRECT_DATA = 117;
/** Numbers of more are no count of anything; beyond it they would not be exact. */
const MAX_COUNT = 2 ** 48;

/**
 * A stream of bytes that is read value by value and passed on, except for what is dropped or put in between. Its readers
 * are generators that wait for more (`yield`) where a chunk ends, so that values may be cut anywhere and nothing is
 * kept but the chunk.
 */
export class PassingBytes {
  #chunk: Buffer = Buffer.alloc(0);
  #at = 0;
  /** Where what has not been passed on begins. */
  #from = 0;
  #dropping = false;
  #passed: Buffer[] = [];

  /** The next chunk; the one before has been read to its end. */
  feed(chunk: Buffer): void {
    this.#chunk = chunk;
    this.#at = 0;
    this.#from = 0;
  }

  /** What has been passed on since the last call. */
  take(): Buffer {
    this.#pass();
    const passed = this.#passed;
    this.#passed = [];
    return passed.length === 1 ? (passed[0] as Buffer) : Buffer.concat(passed);
  }

  /** Drops what is read until {@link put} is called. */
  drop(): void {
    this.#pass();
    this.#dropping = true;
  }

  /** Puts bytes in between. */
  put(bytes: Buffer): void {
    this.#pass();
    this.#dropping = false;
    this.#passed.push(bytes);
  }

  #pass(): void {
    if (!this.#dropping && this.#at > this.#from)
      this.#passed.push(this.#chunk.subarray(this.#from, this.#at));
    this.#from = this.#at;
  }

  /** Waits until there is a byte to read. */
  *more(): Generator<void, void> {
    while (this.#at === this.#chunk.length) yield;
  }

  *byte(): Generator<void, number> {
    yield* this.more();
    const byte = this.#chunk[this.#at] as number;
    this.#at += 1;
    return byte;
  }

  /** A number of seven bits a byte. */
  *varint(): Generator<void, number> {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = yield* this.byte();
      value += (byte & 127) * scale;
      if (value > MAX_COUNT) throw unreadable(`the number ${value}`);
      if (byte < 128) return value;
    }
  }

  *uint64(): Generator<void, number> {
    let value = 0;
    for (let i = 0, scale = 1; i < 8; i++, scale *= 256) value += (yield* this.byte()) * scale;
    if (value > MAX_COUNT) throw unreadable(`the number ${value}`);
    return value;
  }

  /** A text with its length before it, a character a byte. */
  *text(): Generator<void, string> {
    const bytes: number[] = [];
    const length = yield* this.varint();
    for (let i = 0; i < length; i++) bytes.push(yield* this.byte());
    return Buffer.from(bytes).toString('latin1');
  }

  *skip(count: number): Generator<void, void> {
    let left = count;
    while (left > this.#chunk.length - this.#at) {
      left -= this.#chunk.length - this.#at;
      this.#at = this.#chunk.length;
      yield;
    }
    this.#at += left;
  }

  /** Texts with their lengths before them: whole ones in a loop of its own, which is what most of a result takes. */
  *skipTexts(count: number): Generator<void, void> {
    for (let left = count; left > 0; left--) {
      left -= this.#skipWholeTexts(left);
      if (left === 0) return;
      yield* this.skip(yield* this.varint());
    }
  }

  /** Skips texts of less than 128 bytes that lie in the chunk as a whole. Returns their number. */
  #skipWholeTexts(count: number): number {
    const chunk = this.#chunk;
    let at = this.#at;
    let done = 0;
    while (done < count && at < chunk.length) {
      const length = chunk[at] as number;
      if (length > 127 || at + length >= chunk.length) break;
      at += length + 1;
      done += 1;
    }
    this.#at = at;
    return done;
  }
}

export function unreadable(what: string): QueryError {
  return new QueryError(
    INCORRECT_DATA,
    `The embedded engine cannot read its own Native format: ${what}`,
    'INCORRECT_DATA',
  );
}
