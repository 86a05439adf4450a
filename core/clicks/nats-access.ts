import {
  credsAuthenticator,
  type NatsConnection,
  type NodeConnectionOptions,
  nkeyAuthenticator,
} from '@nats-io/transport-node';
import { OperatingError } from '../errors.ts';
import { NO_TLS_FILES, readSettingFile, readTlsFiles, type TlsFiles } from '../tls.ts';
import { urlsOf } from '../url.ts';

/** The address of NATS, and what it asks a client for. */
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
  if (creds !== '') return { authenticator: credsAuthenticator(rereading('NATS_CREDS', creds, CREDENTIALS)) };
  if (nkey !== '') return { authenticator: nkeyAuthenticator(rereading('NATS_NKEY', nkey, SEED)) };
  const login = urls.find(({ username, password }) => username !== '' || password !== '');
  const [user, pass] = [login?.username ?? '', login?.password ?? ''].map(decodeURIComponent);
  if (pass) return { user: user ?? '', pass };
  return user ? { token: user } : {};
}

/** All of a credentials file: two blocks, of the JWT and of the seed. */
const CREDENTIALS = /^.*-{3,}END .*-{3,}END .*$/s;
/** The line of a seed; the tool `nk` writes the public key behind it. */
const SEED = /^S[A-Z2-7]{20,}$/m;

/**
 * Reads a file at each connection, so that a renewed one needs no restart. While it is not whole, as during its replacement,
 * what it held before is given: a failure here would end the connection for ever.
 * @throws OperatingError `invalid_config` at once when there is nothing in it that `content` matches.
 */
function rereading(variable: string, path: string, content: RegExp): () => Uint8Array {
  const read = (): string | undefined => content.exec(readSettingFile(variable, path).toString())?.[0];
  let last = read();
  if (last === undefined) {
    throw new OperatingError('invalid_config', `${variable} holds no login of NATS: ${path}`);
  }
  return () => {
    try {
      last = read() ?? last;
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
    }
    return Buffer.from(last ?? '');
  };
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
