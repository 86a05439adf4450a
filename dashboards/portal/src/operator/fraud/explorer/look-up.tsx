import { useState } from 'preact/hooks';
import { navigate } from '../../../app/router.tsx';
import { useSession } from '../../../app/session.tsx';
import { api, take } from '../../../data/api.ts';
import { useAction } from '../../../data/use-data.ts';
import { t } from '../../../text/t.ts';
import { Button, Card, Empty, Problem } from '../../../ui/basics.tsx';
import { Explored, type ExplorerKey, explorerPath, KEY_NAMES } from '../../../ui/explored.tsx';
import { TextField } from '../../../ui/forms.tsx';
import { Table } from '../../../ui/table.tsx';

interface Found {
  readonly key: ExplorerKey;
  readonly value: string;
  readonly name: string | null;
}

/** A field for whatever one has: what it names is opened, or offered where it names several things. */
export function LookUp() {
  const { user } = useSession();
  const [text, setText] = useState('');
  const [found, setFound] = useState<readonly Found[]>();
  const { run, busy, error } = useAction(async () => {
    const body = { text, ...(user.program_id !== null && { program_id: user.program_id }) };
    const { data } = await take(api.POST('/v1/explorer/look-up', { body }));
    const [only, ...others] = data;
    if (only && others.length === 0) navigate(explorerPath(only.key, only.value));
    else setFound(data);
  });
  return (
    <Card>
      <search>
        <form
          class="filters look-up"
          onSubmit={(event) => {
            event.preventDefault();
            if (text.trim() !== '') void run();
          }}
        >
          <TextField
            label={t('explorer.look_up')}
            type="search"
            value={text}
            onChange={setText}
            placeholder={t('explorer.address_network_email')}
          />
          <Button type="submit" kind="primary" busy={busy}>
            {t('explorer.open')}
          </Button>
        </form>
      </search>
      <Problem error={error} />
      {found?.length === 0 && (
        <Empty title={t('explorer.nothing_is_named_so')}>{t('explorer.what_can_be_looked_up')}</Empty>
      )}
      {found && found.length > 0 && (
        <Table
          label={t('explorer.what_it_names')}
          rows={found}
          rowKey={({ key, value }) => `${key} ${value}`}
          columns={[
            { title: t('common.kind'), cell: ({ key }) => KEY_NAMES[key] },
            {
              title: t('explorer.value'),
              head: true,
              cell: ({ key, value }) => <Explored of={key} value={value} />,
            },
            { title: t('common.name'), cell: ({ name }) => name ?? '' },
          ]}
        />
      )}
    </Card>
  );
}
