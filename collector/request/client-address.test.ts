import { describe, expect, it } from 'vitest';
import { formatIp, parseIp } from '../../core/ip.ts';
import { createClientAddressReader, isUnknownAddress } from './client-address.ts';

const bytes = (text: string): ArrayBuffer => {
  const all = parseIp(text) ?? Buffer.alloc(16);
  return new Uint8Array(text.includes(':') ? all : all.subarray(12)).buffer;
};
const peer = (remote: string, proxied?: string) => ({
  getRemoteAddress: () => bytes(remote),
  getProxiedRemoteAddress: () => (proxied === undefined ? new ArrayBuffer(0) : bytes(proxied)),
});
const client = (trusted: string[], remote: string, forwarded: string | string[], proxied?: string) => {
  const lines = [forwarded].flat().map((line) => ['x-forwarded-for', line] as const);
  const forEach = (visit: (name: string, value: string) => void): void => {
    for (const [name, value] of [['host', 'go.test'] as const, ...lines]) visit(name, value);
  };
  return formatIp(createClientAddressReader(trusted)(peer(remote, proxied), { forEach }));
};

describe('client address', () => {
  it('is unknown when a trusted proxy names none, or the unspecified one', () => {
    const read = createClientAddressReader(['10.0.0.0/8']);
    const forEach = (): void => {};
    for (const proxied of ['::', '0:0:0:0:0:0:0:0']) {
      expect(isUnknownAddress(read(peer('10.1.1.1', proxied), { forEach }))).toBe(true);
    }
    expect(isUnknownAddress(read(peer('10.1.1.1', '2001:db8::1'), { forEach }))).toBe(false);
  });

  it('is the socket address when no proxy is trusted, whatever the headers say', () => {
    expect(client([], '192.0.2.1', '8.8.8.8')).toBe('192.0.2.1');
    expect(client([], '2001:db8::1', '8.8.8.8', '9.9.9.9')).toBe('2001:db8::1');
  });

  it('is the socket address when the peer is not a trusted proxy', () => {
    expect(client(['10.0.0.0/8'], '192.0.2.1', '8.8.8.8')).toBe('192.0.2.1');
  });

  it('is the rightmost forwarded address that is not itself trusted', () => {
    const trusted = ['10.0.0.0/8', '2001:db8::/32'];
    expect(client(trusted, '10.1.1.1', '8.8.8.8')).toBe('8.8.8.8');
    expect(client(trusted, '10.1.1.1', '1.1.1.1, 8.8.8.8')).toBe('8.8.8.8');
    expect(client(trusted, '10.1.1.1', '1.1.1.1, 8.8.8.8, 10.2.2.2')).toBe('8.8.8.8');
    expect(client(trusted, '2001:db8::9', '2001:4860::1')).toBe('2001:4860::1');
    expect(client(trusted, '10.1.1.1', '10.3.3.3, 10.2.2.2')).toBe('10.3.3.3');
    expect(client(trusted, '10.1.1.1', '8.8.8.8, ::ffff:10.2.2.2')).toBe('8.8.8.8');
    expect(client(trusted, '10.1.1.1', 'fe80::1%eth0')).toBe('fe80::1');
  });

  it('is unknown, not the proxy, when the proxy names no address', () => {
    const trusted = ['10.0.0.0/8'];
    expect(client(trusted, '10.1.1.1', '')).toBe('10.1.1.1');
    expect(client(trusted, '10.1.1.1', 'evil, 10.2.2.2')).toBe('::');
    expect(client(trusted, '10.1.1.1', '8.8.8.8, unknown')).toBe('::');
    expect(client(trusted, '10.1.1.1', '8.8.8.8, , 10.2.2.2,')).toBe('8.8.8.8');
  });

  it('a visitor who sends a line of its own does not choose its address: the last line counts', () => {
    expect(client(['10.0.0.0/8'], '10.1.1.1', ['1.2.3.4', '203.0.113.7'])).toBe('203.0.113.7');
  });

  it('believes the PROXY protocol of a trusted peer first', () => {
    expect(client(['10.0.0.0/8'], '10.1.1.1', '8.8.8.8', '9.9.9.9')).toBe('9.9.9.9');
  });
});
