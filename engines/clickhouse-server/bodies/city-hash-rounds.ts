/**
 * The inner loop of CityHash128, in WebAssembly: a machine's words of 64 bits, which JavaScript has as BigInt only, at a
 * hundredth of the speed. The program is small enough to be put together here, from the expressions of its source.
 */

type Code = readonly number[];
type State = readonly [x: bigint, y: bigint, z: bigint, v1: bigint, v2: bigint, w1: bigint, w2: bigint];

const K1 = 0xb492b66fbe98f273n;

/** Opcodes: https://webassembly.github.io/spec/core/binary/instructions.html */
const binary = (opcode: number) => (first: Code, second: Code) => [...first, ...second, opcode];
const add2 = binary(0x7c);
const add = (first: Code, ...rest: Code[]): Code => rest.reduce(add2, first);
const multiply = binary(0x7e);
const xor = binary(0x85);
const get = (local: number): Code => [0x20, local];
const set = (local: number, value: Code): Code => [...value, 0x21, local];
const rotate = (value: Code, by: number): Code => [...value, 0x42, ...signed(BigInt(by)), 0x8a];
const constant = (value: bigint): Code => [0x42, ...signed(BigInt.asIntN(64, value))];
const constant32 = (value: number): Code => [0x41, ...signed(BigInt(value))];

/** LEB128 */
function signed(value: bigint): number[] {
  const low = Number(value & 0x7fn);
  const rest = value >> 7n;
  const isLast = (rest === 0n && low < 64) || (rest === -1n && low >= 64);
  return isLast ? [low] : [low | 0x80, ...signed(rest)];
}

function unsigned(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >> 7)];
}

/** Locals: the parameter and the position, of 32 bits; then words of 64 bits. */
const [END, AT, X, Y, Z, V1, V2, W1, W2, A, B] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10] as const;
const STATE = [X, Y, Z, V1, V2, W1, W2];
/** The state lies at the beginning of the memory, the bytes behind it. */
const DATA = 64;
/** With the state it fits in the memory's two pages of 64 KiB. */
const PIECE_BYTES = 65_536;

/** The word at `offset` from the position. */
const word = (offset: number): Code => [...get(AT), 0x29, 0, ...unsigned(offset)];
const store = (address: number, value: Code): Code => [...constant32(address), ...value, 0x37, 0, 0];
const load = (address: number): Code => [...constant32(address), 0x29, 0, 0];

/** WeakHashLen32WithSeeds of the words from `offset`. */
function weakHash(offset: number, [first, second]: [number, number], seed: Code, seed2: Code): Code {
  return [
    ...set(A, add(seed, word(offset))),
    // Before A changes: what is added to the rotations.
    ...set(B, add(rotate(add(seed2, get(A), word(offset + 24)), 21), get(A))),
    ...set(A, add(get(A), word(offset + 8), word(offset + 16))),
    ...set(first, add(get(A), word(offset + 24))),
    ...set(second, add(get(B), rotate(get(A), 44))),
  ];
}

const ROUND: Code = [
  ...set(X, multiply(rotate(add(get(X), get(Y), get(V1), word(16)), 37), constant(K1))),
  ...set(Y, multiply(rotate(add(get(Y), get(V2), word(48)), 42), constant(K1))),
  ...set(X, xor(get(X), get(W2))),
  ...set(Y, xor(get(Y), get(V1))),
  ...set(Z, rotate(xor(get(Z), get(W1)), 33)),
  ...weakHash(0, [V1, V2], multiply(get(V2), constant(K1)), add(get(X), get(W1))),
  ...weakHash(32, [W1, W2], add(get(Z), get(W2)), get(Y)),
  // X and Z change places.
  ...[...get(X), ...get(Z), 0x21, X, 0x21, Z],
];

const BODY: Code = [
  ...STATE.flatMap((local, i) => set(local, load(i * 8))),
  ...set(AT, constant32(DATA)),
  // loop … br_if … end
  ...[0x03, 0x40],
  ...ROUND,
  ...set(AT, [...get(AT), ...constant32(64), 0x6a]),
  ...[...get(AT), ...get(END), 0x49, 0x0d, 0, 0x0b],
  ...STATE.flatMap((local, i) => store(i * 8, get(local))),
];

const sized = (bytes: Code): Code => [...unsigned(bytes.length), ...bytes];
const section = (id: number, bytes: Code): Code => [id, ...sized(bytes)];
const text = (name: string): Code => sized([...Buffer.from(name)]);

/** A module with its memory and one function of an end (i32). */
const MODULE = Uint8Array.from([
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...section(1, [1, 0x60, 1, 0x7f, 0]),
  ...section(3, [1, 0]),
  ...section(5, [1, 0, 2]),
  ...section(7, [2, ...text('memory'), 2, 0, ...text('rounds'), 0, 0]),
  ...section(10, [1, ...sized([2, 1, 0x7f, 9, 0x7e, ...BODY, 0x0b])]),
]);

interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly rounds: (end: number) => void;
}

/** As far as it is needed; TypeScript has the whole only for browsers. */
interface WebAssemblyApi {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
}

const { Module, Instance } = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;

const { memory, rounds } = new Instance(new Module(MODULE)).exports as Exports;

/** @param bytes a positive multiple of 128. */
export function hashRounds(bytes: Buffer, state: State): State {
  const words = new BigUint64Array(memory.buffer, 0, STATE.length);
  words.set(state);
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    const piece = bytes.subarray(at, at + PIECE_BYTES);
    new Uint8Array(memory.buffer).set(piece, DATA);
    rounds(DATA + piece.length);
  }
  return [...words] as unknown as State;
}
