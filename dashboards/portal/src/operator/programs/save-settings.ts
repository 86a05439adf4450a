import { useRef } from 'preact/hooks';
import { api, type Schemas, takeVersion } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';

type Program = Schemas['Program'];

/** A form over a part of a program. */
export interface SettingsProps {
  readonly data: Program;
  /** The ETag of the version that the page knows, its own changes included. */
  readonly version: { current: string };
  readonly onSaved: () => void;
}

/**
 * Sends what was changed in a form since it was opened, unless somebody else has changed the program meanwhile. Other forms
 * of the page stay as they are when it is saved, and none of them writes back what it showed before.
 * @param opened What the form would send unchanged.
 */
export function useSave({ data, version, onSaved }: SettingsProps, opened: Partial<Program>) {
  const before = useRef(opened);
  return useAction(async (body: Partial<Program>) => {
    const changed = Object.entries(body).filter(
      ([name, value]) => JSON.stringify(value) !== JSON.stringify(before.current[name as keyof Program]),
    );
    if (changed.length > 0) {
      const params = { path: { id: data.id }, header: { 'if-match': version.current } };
      const body = Object.fromEntries(changed) as never;
      version.current = (await takeVersion(api.PATCH('/v1/programs/{id}', { params, body }))).etag;
    }
    onSaved();
  });
}
