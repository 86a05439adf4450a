import { expect, it } from 'vitest';
import { readShippedOwners } from '../../warehouse/geo/asn-list.ts';
import { HOSTING, isHosting } from './hosting.ts';

it('names hosters as the shipped list names them', () => {
  const owners = new Map<number, string>();
  for (const { value } of readShippedOwners().networks) owners.set(value.asn, value.organisation);
  expect([...HOSTING.keys()].map((asn) => [asn, owners.get(asn)])).toEqual([...HOSTING]);
});

it('knows a network by its number', () => {
  expect(isHosting('AS24940 Hetzner Online GmbH')).toBe(true);
  expect(isHosting('AS680 DFN, also AS24940')).toBe(false);
  expect(isHosting('')).toBe(false);
});
