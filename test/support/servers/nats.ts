import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inject } from 'vitest';
import {
  type Answer,
  type EngineProcess,
  freePort,
  NO_ANSWER,
  spawnEngine,
  waitUntilReady,
} from '../../../engines/engine.ts';

const START_MS = 30_000;
const STOP_MS = 10_000;
/** As the embedded server has it: the streams reserve more than a small disk has. */
const MAX_FILE_STORE_BYTES = 256e9;

/** Members of nats-server.conf, beside address and JetStream. */
export type NatsConfig = Readonly<Record<string, unknown>>;

export interface NatsWith {
  readonly port: number;
  /** SIGKILL, and wait for the end. */
  kill(): Promise<void>;
  restart(): Promise<void>;
  /** Also removes its data. */
  stop(): Promise<void>;
}

/** A nats-server with JetStream and these settings. JSON is a part of its configuration's grammar. */
export async function startNatsWith(config: NatsConfig): Promise<NatsWith> {
  const folder = mkdtempSync(join(tmpdir(), 'afflux-nats-'));
  const port = await freePort();
  const file = join(folder, 'nats-server.json');
  const whole = {
    ...config,
    listen: `127.0.0.1:${port}`,
    jetstream: { store_dir: folder, max_file_store: MAX_FILE_STORE_BYTES },
  };
  writeFileSync(file, JSON.stringify(whole));
  async function start(): Promise<EngineProcess> {
    const child = await spawnEngine({
      name: 'nats',
      command: inject('natsServer').binary,
      args: ['--config', file],
      onLine: () => undefined,
      stopSignal: 'SIGTERM',
      stopTimeoutMs: STOP_MS,
      forceSignal: 'SIGKILL',
    });
    await waitUntilReady({
      name: 'nats-server',
      process: child,
      answers: () => listens(port),
      timeoutMs: START_MS,
    });
    return child;
  }
  let child = await start();
  return {
    port,
    async kill() {
      process.kill(child.pid, 'SIGKILL');
      await child.exited;
    },
    async restart() {
      child = await start();
    },
    async stop() {
      await child.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function listens(port: number): Promise<Answer> {
  return await new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve('ready');
    });
    socket.once('error', () => resolve(NO_ANSWER));
  });
}
