const GOLDEN = 0x9e3779b9;

/**
 * A whole number from 0 and below `below` that depends on the seed, on what is drawn and on the arrival's number alone, so
 * that generators that share no memory draw the same. The mixing steps are those of MurmurHash3's finaliser, public domain.
 */
export function draw(seed: number, what: number, n: number, below: number): number {
  let mixed = mix(Math.imul(seed, GOLDEN) ^ mix(n));
  mixed = mix(mixed ^ Math.imul(what + 1, GOLDEN));
  return Math.floor(((mixed >>> 0) / 4_294_967_296) * below);
}

function mix(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
