import { freePort } from '../../engines/engine.ts';
import type { Run } from '../ending.ts';
import { createProfileFixture, LOAD_CORE } from './fixture.ts';

const CONNECTIONS = 256;

/** A collector under as much load as it takes, 256 connections, from start to end; returns what it did. */
export async function loadCollector(options: {
  run: Run;
  seconds: number;
  nodeFlags: readonly string[];
}): Promise<string> {
  const { run, seconds, nodeFlags } = options;
  const fixture = await createProfileFixture(run);
  const port = await freePort();
  const server = await fixture.startCollector({ port, nodeFlags });
  const { requests, perSecond, errors } = await fixture.load.run({
    url: `http://127.0.0.1:${port}`,
    connections: CONNECTIONS,
    seconds,
    core: LOAD_CORE,
  });
  await server.stop();
  if (errors > 0) throw new Error(`${errors} of ${requests} requests failed`);
  return `${requests} clicks at ${Math.round(perSecond)}/s, by ${fixture.load.name}`;
}
