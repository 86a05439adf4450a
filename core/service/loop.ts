import type { Running } from './service.ts';

/**
 * Runs `step` again and again, pausing for the milliseconds it returns, until stopped.
 * A stop cuts a pause short and waits for the current step. `step` handles its own errors: one that it throws is a bug
 * and ends the process.
 */
export function startLoop(step: () => Promise<number>): Running {
  let stopped = false;
  let wake = (): void => undefined;

  async function pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async function run(): Promise<void> {
    while (!stopped) {
      const pauseMs = await step();
      if (!stopped && pauseMs > 0) await pause(pauseMs);
    }
  }
  const running = run();

  return {
    async stop() {
      stopped = true;
      wake();
      await running;
    },
  };
}
