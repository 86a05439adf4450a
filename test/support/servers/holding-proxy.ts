import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/**
 * A way to a server on this machine that can hold what its clients send, as the kernel does for a process whose network is
 * cut off: it sends that when the network is back, even if the process was killed meanwhile.
 */
export async function startHoldingProxy(serverPort: number): Promise<{
  readonly port: number;
  /** Nothing arrives any more, in either direction, and no client can connect. */
  hold(): void;
  /** Whether some of what is held contains a text. */
  isHolding(text: string): boolean;
  /** Sends what is held, ends every connection, and waits until the server has read it. */
  release(): Promise<void>;
}> {
  const pairs: { readonly client: Socket; readonly server: Socket; readonly held: Buffer[] }[] = [];
  let isHeld = false;
  const listener = createServer((client) => {
    if (isHeld) return client.destroy();
    const server = connect(serverPort, '127.0.0.1');
    const pair = { client, server, held: [] as Buffer[] };
    pairs.push(pair);
    client.on('data', (bytes) => (isHeld ? pair.held.push(bytes) : server.write(bytes)));
    server.on('data', (bytes) => isHeld || client.write(bytes));
    client.on('error', () => undefined);
    server.on('error', () => undefined);
    client.on('close', () => isHeld || server.destroy());
    server.on('close', () => client.destroy());
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');

  return {
    port: (listener.address() as AddressInfo).port,
    hold() {
      isHeld = true;
    },
    isHolding: (text) => pairs.some(({ held }) => Buffer.concat(held).includes(text)),
    async release() {
      for (const { client, server, held } of pairs) {
        client.destroy();
        const closed = once(server, 'close');
        // The server reads to the end before it closes its side.
        server.end(Buffer.concat(held));
        server.resume();
        await closed;
      }
      listener.close();
    },
  };
}
