import { useState } from 'preact/hooks';
import { useParameters } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { type List, useList } from '../../data/use-list.ts';
import { useNames } from '../../data/use-names.ts';
import { words, ZONE_NAME } from '../../text/format.ts';
import { t } from '../../text/t.ts';
import { Button, Card, Empty, Page, Problem, When } from '../../ui/basics.tsx';
import { Dialog } from '../../ui/forms.tsx';
import { Status } from '../../ui/status.tsx';
import { ListTable } from '../../ui/table.tsx';
import { ACTIONS, KINDS, NewBlock } from './new-block.tsx';

type Block = Schemas['Block'];

const NAMED = ['affiliates', 'users'] as const;

/** What clicks are blocked by. With `?kind=address&value=192.0.2.1` in its address it opens with that as a new entry. */
export function BlocksPage() {
  const { program } = useSession();
  const [given, setGiven] = useParameters(['kind', 'value']);
  const [isNew, setIsNew] = useState(given.value !== '');
  const [ending, setEnding] = useState<Block>();
  const list = useList((query, signal) => api.GET('/v1/blocks', { params: { query }, signal }), {
    query: { program_id: program.id },
    filters: ['kind', 'state', 'scope'],
    prefix: 'list_',
  });
  const close = () => {
    setIsNew(false);
    setEnding(undefined);
    if (given.value !== '') setGiven({ kind: '', value: '' }, { replace: true });
  };
  const done = () => {
    close();
    list.reload();
  };
  return (
    <Page
      title={t('blocks.title')}
      lead={t('blocks.lead')}
      actions={
        <Button kind="primary" onClick={() => setIsNew(true)}>
          {t('blocks.new')}
        </Button>
      }
    >
      <Card>
        <BlockTable list={list} onEnd={setEnding} />
      </Card>
      {isNew && <NewBlock given={given} onClose={close} onMade={done} />}
      {ending && <EndBlock block={ending} onClose={close} onDone={done} />}
    </Page>
  );
}

function BlockTable({ list, onEnd }: { list: List<Block>; onEnd: (block: Block) => void }) {
  const { user } = useSession();
  const names = useNames(NAMED);
  const seesAll = user.program_id === null;
  const tools = {
    search: t('blocks.value_or_reason'),
    filters: [
      { name: 'kind', label: t('common.kind'), choices: KINDS },
      {
        name: 'state',
        label: t('common.status'),
        choices: [
          { value: 'in_force', text: t('blocks.in_force') },
          { value: 'ended', text: words('ended') },
        ],
      },
      ...(seesAll
        ? [
            {
              name: 'scope',
              label: t('blocks.where'),
              choices: [
                { value: 'program', text: t('blocks.this_program') },
                { value: 'every_program', text: t('blocks.every_program') },
              ],
            },
          ]
        : []),
    ],
    days: true,
    file: '/v1/blocks.csv',
  };
  return (
    <ListTable
      label={t('blocks.title')}
      list={list}
      tools={tools}
      rowKey={({ id }) => id}
      empty={<Empty title={t('blocks.none')}>{t('blocks.none_text')}</Empty>}
      columns={[
        {
          title: t('blocks.value'),
          head: true,
          sort: 'value',
          cell: ({ value, id, affiliate_id, sub }) => (
            <>
              <code>{value}</code>
              <span class="sub">
                {affiliate_id === null
                  ? id
                  : t('blocks.sub_of_partner', {
                      sub: t('blocks.sub_number', { number: sub ?? 0 }),
                      partner: names.get(affiliate_id) ?? affiliate_id,
                    })}
              </span>
            </>
          ),
        },
        { title: t('common.kind'), sort: 'kind', cell: ({ kind }) => textOf(KINDS, kind) },
        { title: t('blocks.its_clicks'), cell: ({ action }) => textOf(ACTIONS, action) },
        {
          title: t('blocks.where'),
          cell: ({ program_id }) =>
            program_id === null ? t('blocks.every_program') : t('blocks.this_program'),
        },
        { title: t('common.reason'), cell: ({ reason }) => reason },
        {
          title: t('blocks.made_zone', { zone: ZONE_NAME }),
          sort: 'created_at',
          cell: ({ created_at, created_by }) => (
            <>
              <When at={created_at} />
              <span class="sub">{nameOfActor(created_by, names)}</span>
            </>
          ),
        },
        {
          title: t('common.until_zone', { zone: ZONE_NAME }),
          sort: 'ends_at',
          cell: ({ ends_at, ended_by }) => (
            <>
              <When at={ends_at} none={t('common.no_end')} />
              {ended_by !== null && <span class="sub">{nameOfActor(ended_by, names)}</span>}
            </>
          ),
        },
        {
          title: t('common.status'),
          cell: (block) =>
            isInForce(block) ? <Status of="active" text={t('blocks.in_force')} /> : <Status of="ended" />,
        },
        {
          title: '',
          cell: (block) =>
            isInForce(block) && (block.program_id !== null || seesAll) ? (
              <div class="actions">
                <Button onClick={() => onEnd(block)} label={t('blocks.end_value', { value: block.value })}>
                  {t('blocks.end')}
                </Button>
              </div>
            ) : null,
        },
      ]}
    />
  );
}

function EndBlock({ block, onClose, onDone }: { block: Block; onClose: () => void; onDone: () => void }) {
  const { run, busy, error } = useAction(async () => {
    await take(api.POST('/v1/blocks/{id}/end', { params: { path: { id: block.id } } }));
    onDone();
  });
  return (
    <Dialog title={t('blocks.end_value', { value: block.value })} onClose={onClose}>
      <div class="stack">
        <p>{t('blocks.end_text')}</p>
        <Problem error={error} />
        <div class="form-end">
          <Button kind="danger" busy={busy} onClick={() => void run()}>
            {t('blocks.end_now')}
          </Button>
        </div>
      </div>
    </Dialog>
  );
}

function isInForce({ ends_at }: Block): boolean {
  return ends_at === null || Date.parse(ends_at) > Date.now();
}

function textOf(choices: readonly { value: string; text: string }[], value: string): string {
  return choices.find((choice) => choice.value === value)?.text ?? words(value);
}

/** `user:3` is the user usr_3. */
function nameOfActor(actor: string, names: ReadonlyMap<string, string>): string {
  return names.get(actor.replace('user:', 'usr_')) ?? actor;
}
