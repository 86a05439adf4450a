import type { ComponentType } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { useData } from '../data/use-data.ts';
import { Loading, Problem } from '../ui/basics.tsx';
import { type Route, showHeading } from './router.tsx';

type PageOf = Route['page'];

/** A page whose code is loaded when it is opened: few users open it, and all others wait for less. */
export function lazyPage(load: () => Promise<PageOf>): PageOf {
  let loaded: PageOf | undefined;
  return function LazyPage(props) {
    const [wasLoaded] = useState(loaded !== undefined);
    const { data, error, reload } = useData(async () => {
      loaded ??= await load();
      return { Page: loaded as ComponentType<typeof props> };
    }, []);
    // The frame has looked for the heading before it was there.
    useEffect(() => {
      if (data && !wasLoaded) showHeading({ isMoved: true });
    }, [data]);
    if (error !== undefined) return <Problem error={error} onRetry={reload} />;
    const Page = loaded;
    return Page ? <Page {...props} /> : <Loading />;
  };
}
