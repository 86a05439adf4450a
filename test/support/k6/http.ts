import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';

export interface SentRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
}

export interface ReceivedAnswer {
  /** 0: none came. */
  readonly status: number;
  /** Names in lower case; of Set-Cookie a list. */
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly body: string;
}

/** HTTP for scripts whose engine has no promises to wait with: each call blocks this thread until its answer is there. */
export interface SyncHttp {
  send(request: SentRequest, timeoutMs: number): ReceivedAnswer;
  stop(): Promise<void>;
}

export function startSyncHttp(): SyncHttp {
  const signal = new Int32Array(new SharedArrayBuffer(4));
  const { port1, port2 } = new MessageChannel();
  const worker = new Worker(new URL('./http-worker.mjs', import.meta.url), {
    workerData: { port: port2, signal },
    transferList: [port2],
  });
  return {
    send(request, timeoutMs) {
      Atomics.store(signal, 0, 0);
      port1.postMessage({ ...request, timeout: timeoutMs });
      // The wake-up of the answer before can come late, while this one is still awaited.
      while (Atomics.load(signal, 0) === 0) {
        if (Atomics.wait(signal, 0, 0, 2 * timeoutMs) === 'timed-out') throw new Error('the worker is stuck');
      }
      return receiveMessageOnPort(port1)?.message as ReceivedAnswer;
    },
    async stop() {
      port1.close();
      await worker.terminate();
    },
  };
}
