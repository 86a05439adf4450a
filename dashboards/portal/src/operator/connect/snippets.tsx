import { useState } from 'preact/hooks';
import { api, type Schemas, take } from '../../data/api.ts';
import { useData } from '../../data/use-data.ts';
import { t } from '../../text/t.ts';
import { Card, Copy, Loading, Problem } from '../../ui/basics.tsx';
import { Segments } from '../../ui/forms.tsx';

type Name = Schemas['Snippet']['name'];

/** Code for the pages of the shop, with the address of the collector. `only`: those that suit a source. */
export function Snippets({ only }: { only?: readonly Name[] | undefined }) {
  const [chosen, setChosen] = useState<Name>();
  const { data, error, reload } = useData(
    async (signal) => (await take(api.GET('/v1/snippets', { signal }))).data,
    [],
  );
  const offered = data?.filter(({ name }) => only === undefined || only.includes(name));
  const snippet = offered?.find(({ name }) => name === chosen) ?? offered?.[0];
  return (
    <Card title={t('snippets.title')} note={t('snippets.note')}>
      {!snippet && (error === undefined ? <Loading /> : <Problem error={error} onRetry={reload} />)}
      {snippet && offered && (
        <div class="stack">
          {offered.length > 1 && (
            <Segments
              label={t('snippets.where')}
              value={snippet.name}
              onChange={(name) => setChosen(name as Name)}
              choices={offered.map(({ name, title }) => ({ value: name, text: title }))}
            />
          )}
          <p>{t(`snippetUse.${snippet.name}`)}</p>
          <div class="code-head">
            <code>{snippet.file}</code>
            <Copy text={snippet.text} label={t('snippets.the_code_for', { title: snippet.title })} />
          </div>
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard */}
          <pre class="code" tabIndex={0}>
            {snippet.text}
          </pre>
        </div>
      )}
    </Card>
  );
}
