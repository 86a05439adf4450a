import {
  credsAuthenticator,
  type NatsConnection,
  type NodeConnectionOptions,
  nkeyAuthenticator,
} from '@nats-io/transport-node';
import { NO_TLS_FILES, readSettingFile, readTlsFiles, type TlsFiles } from '../tls.ts';
import { urlsOf } from '../url.ts';

/** Where NATS is, and how it is convinced of us. */
export interface NatsServer {
  /**
   * `nats://user:password@host:4222`, percent-encoded where a URL needs it, `nats://token@host`, or `tls://…`, which refuses a
   * server without TLS; several servers of a cluster with commas between.
   */
  readonly url: string;
  /** Credentials file: a user's JWT and the seed of its nkey. '' for none. */
  readonly creds?: string;
  /** File with the seed of an nkey. '' for none. */
  readonly nkey?: string;
  readonly tls?: TlsFiles;
  /** TLS from the first byte, not after the server's greeting. */
  readonly tlsFirst?: boolean;
}

const DEFAULT_PORT = 4222;

type Access = Pick<NodeConnectionOptions, 'authenticator' | 'user' | 'pass' | 'token' | 'tls'> & {
  readonly servers: string[];
};

/** The client's options; it reads neither user and password nor the scheme out of a URL. @throws OperatingError `invalid_config`. */
export function accessOptions(server: NatsServer): Access {
  const urls = urlsOf(server.url);
  return {
    servers: urls.map(({ hostname, port }) => `${hostname}:${port || DEFAULT_PORT}`),
    ...loginOptions(server, urls),
    ...tlsOptions(server, urls),
  };
}

function loginOptions(
  { creds = '', nkey = '' }: NatsServer,
  urls: readonly URL[],
): Pick<Access, 'authenticator' | 'user' | 'pass' | 'token'> {
  // Both files are read again at each connection, so that a renewed one needs no restart.
  if (creds !== '') {
    readSettingFile('NATS_CREDS', creds);
    return { authenticator: credsAuthenticator(() => readSettingFile('NATS_CREDS', creds)) };
  }
  if (nkey !== '') {
    readSettingFile('NATS_NKEY', nkey);
    return { authenticator: nkeyAuthenticator(() => seedIn(readSettingFile('NATS_NKEY', nkey))) };
  }
  const { username, password } = urls.find((url) => url.username !== '') ?? { username: '', password: '' };
  const [user, pass] = [decodeURIComponent(username), decodeURIComponent(password)];
  if (pass !== '') return { user, pass };
  return user === '' ? {} : { token: user };
}

/** The line of a seed; the tool `nk` writes the public key behind it. */
function seedIn(file: Buffer): Uint8Array {
  return Buffer.from(/^\s*(S[A-Z2-7]+)\s*$/m.exec(file.toString())?.[1] ?? '');
}

function tlsOptions(server: NatsServer, urls: readonly URL[]): Pick<Access, 'tls'> {
  const { tls: files = NO_TLS_FILES, tlsFirst = false } = server;
  const { ca, cert, key } = files;
  if (!tlsFirst && ca === '' && cert === '' && !urls.some(({ protocol }) => protocol === 'tls:')) return {};
  readTlsFiles('NATS', files);
  return {
    tls: {
      ...(tlsFirst && { handshakeFirst: true }),
      ...(ca !== '' && { caFile: ca }),
      ...(cert !== '' && { certFile: cert, keyFile: key }),
    },
  };
}

/** Adds the servers that did not answer at the first connection, which the client has forgotten, to those it knows. */
export function keepServers(nc: NatsConnection, servers: readonly string[]): void {
  if (servers.length > 1)
    nc.setServers([...new Set([...nc.getServers().map(({ listen }) => listen), ...servers])]);
}
