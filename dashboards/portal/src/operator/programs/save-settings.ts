import { api, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';

type Program = Schemas['Program'];

/** A form over a part of a program; `etag`: of the version that it shows. */
export interface SettingsProps {
  readonly data: Program;
  readonly etag: string;
  readonly onSaved: () => void;
}

/** Sends what was changed, unless somebody else has changed the program meanwhile. */
export function useSave({ data, etag, onSaved }: SettingsProps) {
  return useAction(async (body: Partial<Program>) => {
    const params = { path: { id: data.id }, header: { 'if-match': etag } };
    await take(api.PATCH('/v1/programs/{id}', { params, body: body as never }));
    onSaved();
  });
}
