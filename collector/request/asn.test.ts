import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { expect, it, vi } from 'vitest';
import { formatIp, parseIp } from '../../core/ip.ts';
import { createLogger } from '../../core/service/log.ts';
import { openAsnList } from './asn.ts';

const bytes = (text: string): Buffer => parseIp(text) ?? Buffer.alloc(16);
/** Lines of the list: the first and the last address of each as 16 bytes. */
function* sampledRanges(name: string, isIpv4: boolean) {
  const file = createRequire(import.meta.url).resolve(`@ip-location-db/asn/${name}`);
  const addressOf = (number = ''): Buffer => {
    const bits = BigInt(number) + (isIpv4 ? 0xffff_0000_0000n : 0n);
    return Buffer.from(bits.toString(16).padStart(32, '0'), 'hex');
  };
  for (const [n, line] of readFileSync(file, 'latin1').split('\n').entries()) {
    const [first, last, asn] = line.split(',');
    if (n % 97 === 0 && asn !== undefined)
      yield { ends: [addressOf(first), addressOf(last)], asn: Number(asn) };
  }
}

it('is read again after a minute where it could not be read', async () => {
  const { resolve } = createRequire(import.meta.url);
  let folder = '/nowhere';
  const list = openAsnList({
    log: createLogger({ name: 'test', level: 'silent' }),
    fileOf: (name) => (folder === '' ? resolve(`@ip-location-db/asn/${name}`) : `${folder}/${name}`),
  });
  await list.loadAsns();
  expect([list.hasAsns(), list.asnOf(bytes('8.8.8.8'))]).toEqual([false, 0]);
  folder = '';
  await list.loadAsns();
  expect(list.hasAsns()).toBe(false);
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 60_000 });
  try {
    await list.loadAsns();
  } finally {
    vi.useRealTimers();
  }
  expect([list.hasAsns(), list.asnOf(bytes('8.8.8.8'))]).toEqual([true, 15_169]);
});

it('names the autonomous system of an address as the list does', async () => {
  const list = openAsnList({ log: createLogger({ name: 'test', level: 'silent' }) });
  expect(list.asnOf(bytes('8.8.8.8'))).toBe(0);
  await list.loadAsns();
  const named = ['8.8.8.8', '1.1.1.1', '2001:4860:4860::8888', '2606:4700::1'];
  expect(named.map((ip) => list.asnOf(bytes(ip)))).toEqual([15_169, 13_335, 15_169, 13_335]);
  const unknown = ['10.0.0.1', '::', '::1', 'fe80::1', '255.255.255.255'];
  expect(unknown.map((ip) => list.asnOf(bytes(ip)))).toEqual([0, 0, 0, 0, 0]);
  for (const { ends, asn } of sampledRanges('asn-ipv4-num.csv', true)) {
    for (const ip of ends) expect(list.asnOf(ip), formatIp(ip)).toBe(asn);
  }
  let ipv6 = 0;
  let differing = 0;
  for (const { ends, asn } of sampledRanges('asn-ipv6-num.csv', false)) {
    for (const ip of ends) {
      ipv6++;
      if (list.asnOf(ip) !== asn) differing++;
    }
  }
  // Of networks smaller than a /48, and of those that overlap, the first counts.
  expect(ipv6).toBeGreaterThan(2_000);
  expect(differing).toBeLessThan(ipv6 * 0.02);
});
