import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { createServer } from 'node:tls';
import type { Authority } from './certificates.ts';

export interface TlsProxy {
  readonly port: number;
  /** What the clients have sent, as text. */
  received(): string;
  stop(): Promise<void>;
}

/** Ends TLS on `localhost` in front of a server of this machine, for clients with a certificate of the authority. */
export async function startTlsProxy(authority: Authority, targetPort: number): Promise<TlsProxy> {
  const { cert, key } = await authority.issue('localhost');
  const sockets = new Set<Socket>();
  let text = '';
  const server = createServer(
    {
      cert: readFileSync(cert),
      key: readFileSync(key),
      ca: readFileSync(authority.ca),
      requestCert: true,
      rejectUnauthorized: true,
    },
    (client) => {
      const target = connect(targetPort, '127.0.0.1');
      for (const socket of [client, target]) {
        sockets.add(socket);
        socket.on('error', () => undefined);
        socket.on('close', () => sockets.delete(socket));
      }
      client.on('data', (bytes) => {
        text += bytes.toString('latin1');
      });
      client.pipe(target).pipe(client);
      client.on('close', () => target.destroy());
      target.on('close', () => client.destroy());
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    received: () => text,
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
