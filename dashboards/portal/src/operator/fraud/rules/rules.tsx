import { useState } from 'preact/hooks';
import { useSession } from '../../../app/session.tsx';
import { api, type Schemas, take, takeVersion } from '../../../data/api.ts';
import { useAction, useData } from '../../../data/use-data.ts';
import { useNames } from '../../../data/use-names.ts';
import { formatCount, formatMoney, formatShare, words } from '../../../text/format.ts';
import { fieldProblems } from '../../../text/problem-text.ts';
import { t } from '../../../text/t.ts';
import { Amount, Button, Card, Loading, Page, Problem, When } from '../../../ui/basics.tsx';
import { Table } from '../../../ui/table.tsx';
import { type Preview, PreviewCard, readPreview, type Thresholds } from './preview.tsx';
import { ThresholdField } from './threshold-field.tsx';

type Firings = Schemas['FraudRuleFirings'];
type Rule = Firings['rules'][number];

/** The fraud rules of a program: what each found, and what other thresholds would have found. */
export function FraudRulesPage() {
  const { program } = useSession();
  const [saved, setSaved] = useState(0);
  const { data, error, reload } = useData(
    async (signal) => {
      const params = { path: { id: program.id } };
      const [firings, { etag }] = await Promise.all([
        take(api.GET('/v1/programs/{id}/fraud-rules', { params, signal })),
        takeVersion(api.GET('/v1/programs/{id}', { params, signal })),
      ]);
      return { firings, etag };
    },
    [program.id, saved],
    { page: 'fraud-rules' },
  );
  return (
    <Page title={t('common.fraud_rules')} lead={t('fraudRules.what_they_find')}>
      <Problem error={error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && (
        <Rules
          key={`${program.id} ${data.firings.rules_version}`}
          firings={data.firings}
          etag={data.etag}
          onSaved={() => setSaved(saved + 1)}
        />
      )}
    </Page>
  );
}

function Rules({ firings, etag, onSaved }: { firings: Firings; etag: string; onSaved: () => void }) {
  const { program, user } = useSession();
  const [changed, setChanged] = useState<Thresholds>({});
  const [previewed, setPreviewed] = useState<{ thresholds: Thresholds; preview: Preview }>();
  const names = useNames(['users', 'keys']);
  const hasChanges = Object.keys(changed).length > 0;
  const isPreviewed = hasChanges && previewed?.thresholds === changed;
  const set = ({ name, threshold, state }: Rule, value: number | boolean) => {
    const { [name]: _, ...others } = changed;
    setChanged(value === threshold && state !== 'watching' ? others : { ...others, [name]: value });
  };
  const preview = useAction(async () => {
    setPreviewed({ thresholds: changed, preview: await readPreview(program.id, changed) });
  });
  const save = useAction(async () => {
    const params = { path: { id: program.id }, header: { 'if-match': etag } };
    await take(api.PATCH('/v1/programs/{id}', { params, body: { fraud_rules: changed } }));
    onSaved();
  });
  const error = save.error ?? preview.error;
  const faults = fieldProblems(error);
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        void preview.run();
      }}
    >
      <Card
        title={t('fraudRules.thresholds')}
        note={
          firings.is_cut
            ? t('fraudRules.of_the_latest_orders', { count: firings.orders })
            : t('fraudRules.of_all_orders', { count: firings.orders })
        }
      >
        <Table
          label={t('fraudRules.thresholds')}
          rows={firings.rules}
          rowKey={({ name }) => name}
          columns={[
            {
              title: t('evidence.rule'),
              head: true,
              cell: ({ name, sentence }) => (
                <>
                  {words(name)}
                  <span class="sub">{sentence}</span>
                </>
              ),
            },
            {
              title: t('evidence.threshold'),
              cell: (rule) => (
                <ThresholdField
                  name={rule.name}
                  value={changed[rule.name] ?? (rule.state === 'watching' ? undefined : rule.threshold)}
                  suggested={Number(rule.default)}
                  onChange={(value) => set(rule, value)}
                  fault={faults[`fraud_rules.${rule.name}`]}
                />
              ),
            },
            {
              title: t('fraudRules.in_force_since'),
              cell: ({ since, set_by, state }) => (
                <>
                  <When
                    at={since}
                    none={t(state === 'watching' ? 'fraudRules.watching' : 'fraudRules.default')}
                  />
                  {set_by && <span class="sub">{names.get(set_by) ?? set_by}</span>}
                </>
              ),
            },
            {
              title: t('fraudRules.fired_in_30_days'),
              numeric: true,
              cell: ({ fired }) => (
                <>
                  {formatCount(fired.orders)}
                  {fired.orders > 0 && (
                    <span class="sub">
                      <Amount money={fired.amount} />
                    </span>
                  )}
                  {fired.would_hold.orders > 0 && (
                    <span class="sub">
                      {t('fraudRules.would_have_held', {
                        orders: formatCount(fired.would_hold.orders),
                        amount: formatMoney(fired.would_hold.amount),
                      })}
                    </span>
                  )}
                </>
              ),
            },
            {
              title: t('fraudRules.precision'),
              numeric: true,
              cell: ({ fired }) => (
                <>
                  {formatShare(fired.precision ?? undefined)}
                  {fired.orders > 0 && <span class="sub">{t('fraudRules.decided_so', decided(fired))}</span>}
                </>
              ),
            },
          ]}
        />
        <Problem error={Object.keys(faults).length > 0 ? undefined : error} />
        <div class="form-end">
          <Button type="submit" kind="primary" busy={preview.busy} disabled={!hasChanges}>
            {t('fraudRules.preview')}
          </Button>
          {user.role === 'operator' && (
            <Button busy={save.busy} disabled={!isPreviewed} onClick={() => void save.run()}>
              {t('settings.save_thresholds')}
            </Button>
          )}
          {hasChanges && (
            <Button kind="quiet" onClick={() => setChanged({})}>
              {t('fraudRules.discard')}
            </Button>
          )}
        </div>
      </Card>
      {isPreviewed && <PreviewCard {...previewed} />}
    </form>
  );
}

function decided({ rejected, approved, undecided, in_review }: Rule['fired']) {
  return { rejected, approved, undecided, open: in_review };
}
