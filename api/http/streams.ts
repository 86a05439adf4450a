import type { JetStreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import type { NatsServer } from '../../core/clicks/nats-access.ts';
import { isUnanswered } from '../../core/clicks/nats-errors.ts';
import { connectNats, ensureStreams } from '../../core/clicks/stream.ts';
import { errorText, OperatingError } from '../../core/errors.ts';

interface Nats {
  readonly nc: NatsConnection;
  readonly manager: JetStreamManager;
}

/** NATS as the API uses it: seldom, and so that everything else works while it is unavailable. */
export interface Streams {
  /** Runs `work` over the connection. @throws OperatingError `nats_unreachable`, also when it takes too long. */
  use<T>(work: (nats: Nats) => Promise<T>, timeoutMs?: number): Promise<T>;
  close(): Promise<void>;
}

/** While NATS is unavailable requests wait in the client, longer than an HTTP caller does. */
const ANSWER_TIMEOUT_MS = 3_000;

/** Connects at the first use, and again when the connection was closed. */
export function createStreams({
  replicas,
  ...server
}: NatsServer & { replicas?: number | undefined }): Streams {
  let connecting: Promise<Nats> | undefined;

  async function connect(): Promise<Nats> {
    const nc = await connectNats({ ...server, name: 'afflux-api' });
    try {
      return { nc, manager: await ensureStreams(nc, { replicas }) };
    } catch (error) {
      await nc.close();
      throw error;
    }
  }

  async function connected(): Promise<Nats> {
    connecting ??= connect();
    try {
      const nats = await connecting;
      if (!nats.nc.isClosed()) return nats;
    } catch (error) {
      connecting = undefined;
      throw error;
    }
    connecting = undefined;
    return await connected();
  }

  return {
    async use(work, timeoutMs = ANSWER_TIMEOUT_MS) {
      return await within(timeoutMs, async () => {
        try {
          return await work(await connected());
        } catch (error) {
          if (!isUnanswered(error)) throw error;
          throw new OperatingError('nats_unreachable', `NATS did not answer: ${errorText(error)}`, {
            cause: error,
          });
        }
      });
    },
    async close() {
      await (await connecting?.catch(() => undefined))?.nc.close();
    },
  };
}

async function within<T>(timeoutMs: number, work: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new OperatingError('nats_unreachable', `NATS did not answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
  });
  try {
    return await Promise.race([work(), late]);
  } finally {
    clearTimeout(timer);
  }
}
