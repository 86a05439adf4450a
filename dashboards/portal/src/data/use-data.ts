import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { ApiProblem, SIGNED_IN } from './api.ts';

/** State of a request: latest data, loading flag, error. */
export interface Loaded<Data> {
  readonly data: Data | undefined;
  readonly error: unknown;
  readonly loading: boolean;
  readonly reload: () => void;
}

/** What pages showed last, for the moment until they have it again; in memory alone. */
const remembered = new Map<string, { readonly at: number; readonly data: unknown }>();
/** What is older is not shown, not even for a moment. */
const MOST_REMEMBERED_MS = 60_000;
const MOST_REMEMBERED = 30;

function remember(key: string, data: unknown): void {
  remembered.delete(key);
  remembered.set(key, { at: Date.now(), data });
  const [oldest] = remembered.keys();
  if (remembered.size > MOST_REMEMBERED && oldest !== undefined) remembered.delete(oldest);
}

function recall(key: string): unknown {
  const found = remembered.get(key);
  return found && Date.now() - found.at <= MOST_REMEMBERED_MS ? found.data : undefined;
}

/** To be called when another user may be next. */
export function forgetData(): void {
  remembered.clear();
}

/**
 * Loads when the page appears and whenever `inputs` change; requests in flight for older inputs are cancelled.
 * @param options.everyMs Loads again after this long, while the page is visible.
 * @param options.more Loads again when it changes; the earlier data stay visible until then.
 * @param options.page What was loaded for the same inputs under this name is shown until it is here again.
 */
export function useData<Data>(
  load: (signal: AbortSignal) => Promise<Data>,
  inputs: readonly unknown[],
  options: { everyMs?: number | undefined; more?: number; page?: string } = {},
): Loaded<Data> {
  const { everyMs, more, page } = options;
  const earlier = (inputsKey: string) =>
    page === undefined ? undefined : (recall(`${page} ${inputsKey}`) as Data | undefined);
  const [state, setState] = useState<Omit<Loaded<Data>, 'reload'>>(() => ({
    data: earlier(JSON.stringify(inputs)),
    error: undefined,
    loading: true,
  }));
  const [round, setRound] = useState(0);
  const key = JSON.stringify(inputs);
  const shown = useRef(key);
  // The key stands for the inputs, the round for a reload
  useEffect(() => {
    const controller = new AbortController();
    const isOther = shown.current !== key;
    shown.current = key;
    setState((before) => ({ data: isOther ? earlier(key) : before.data, error: undefined, loading: true }));
    load(controller.signal).then(
      (data) => {
        if (controller.signal.aborted) return;
        if (page !== undefined) remember(`${page} ${key}`, data);
        setState({ data, error: undefined, loading: false });
      },
      (error: unknown) => {
        if (!controller.signal.aborted) setState((before) => ({ ...before, error, loading: false }));
      },
    );
    return () => {
      controller.abort();
    };
  }, [key, round, more]);
  const isSignedOut = state.error instanceof ApiProblem && state.error.problem.status === 401;
  useEffect(() => {
    if (!isSignedOut) return;
    const again = () => setRound((n) => n + 1);
    window.addEventListener(SIGNED_IN, again);
    return () => window.removeEventListener(SIGNED_IN, again);
  }, [isSignedOut]);
  useEffect(() => {
    if (everyMs === undefined) return;
    const timer = setInterval(() => {
      if (document.visibilityState === 'visible') setRound((n) => n + 1);
    }, everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  const reload = useCallback(() => setRound((n) => n + 1), []);
  return { ...state, reload };
}

/** A user's action: one at a time, with its error. */
export interface Action<Args extends readonly unknown[]> {
  readonly run: (...args: Args) => Promise<boolean>;
  readonly busy: boolean;
  readonly error: unknown;
  readonly clear: () => void;
}

/** `run` resolves to true on success. */
export function useAction<Args extends readonly unknown[]>(
  work: (...args: Args) => Promise<unknown>,
): Action<Args> {
  const [state, setState] = useState<{ busy: boolean; error: unknown }>({ busy: false, error: undefined });
  const inFlight = useRef(false);
  const run = async (...args: Args): Promise<boolean> => {
    if (inFlight.current) return false;
    inFlight.current = true;
    setState({ busy: true, error: undefined });
    try {
      await work(...args);
      setState({ busy: false, error: undefined });
      return true;
    } catch (error) {
      setState({ busy: false, error });
      return false;
    } finally {
      inFlight.current = false;
    }
  };
  return { run, ...state, clear: () => setState({ busy: false, error: undefined }) };
}
