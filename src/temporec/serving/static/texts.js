// The words of the page in two languages.

const TEXTS = {
  en: {
    skip: "Skip to the recommendations",
    token: "Token of this service (kept in this tab only)",
    enter: "Enter",
    who: "Who is it?",
    user: "User",
    history: "And then: items or words",
    historyHelp: "Separate with commas. What is typed is also looked up in the titles.",
    words: "Wanted, in words",
    clock: "At this moment",
    recommend: "Recommend",
    why: "say why",
    lists: "Recommendations",
    clickUser: "Choose an item: it becomes an event of this user, and the list changes.",
    clickAnonymous: "Choose an item: it is added to the history above, and the list changes.",
    frozen: "This service is frozen: events are stored and change nothing.",
    timeline: "History",
    noEvents: "Nothing has happened yet.",
    live: "Live",
    latency: "Latency of recommendations, ms",
    events: "Events per second",
    ndcg: "Prequential NDCG@10",
    drift: "Drift: factor of the learning rate",
    noLearner: "no learner has reported",
    waiting: "nothing yet",
    versions: "Versions",
    version: "Version",
    created: "Made",
    figures: "Figures",
    activate: "Activate",
    answers: "answers",
    auto: "current",
    none: "no second list",
    first: "List",
    second: "Beside it",
    popular: "what is popular: nothing is known here",
    model: "by the model",
    isNew: "new",
    empty: "Nothing is left to recommend.",
    added: "Event stored: ",
    activated: "Now answers: ",
    building: "Is being built: ",
    offline: "The service does not answer; trying again.",
    state: (s) => `${s.mode} · ${s.version} · ${s.items.toLocaleString("en")} items · ${s.users.toLocaleString("en")} users`,
  },
  zh: {
    skip: "跳到推荐列表",
    token: "服务令牌(仅保存在此标签页)",
    enter: "确定",
    who: "为谁推荐?",
    user: "用户",
    history: "之后的物品或文字",
    historyHelp: "用逗号分隔。输入的文字也会在标题中查找。",
    words: "想要什么(用文字描述)",
    clock: "指定时刻",
    recommend: "推荐",
    why: "说明理由",
    lists: "推荐结果",
    clickUser: "选择一件物品:它会成为该用户的事件,列表随即更新。",
    clickAnonymous: "选择一件物品:它会加入上面的历史,列表随即更新。",
    frozen: "服务处于冻结模式:事件会保存,但不改变结果。",
    timeline: "历史",
    noEvents: "还没有任何事件。",
    live: "实时",
    latency: "推荐延迟(毫秒)",
    events: "每秒事件数",
    ndcg: "先测后学 NDCG@10",
    drift: "漂移:学习率倍数",
    noLearner: "还没有学习进程的报告",
    waiting: "暂无数据",
    versions: "版本",
    version: "版本",
    created: "创建时间",
    figures: "指标",
    activate: "启用",
    answers: "正在应答",
    auto: "当前版本",
    none: "不对比",
    first: "列表",
    second: "对比",
    popular: "热门:对此用户一无所知",
    model: "由模型给出",
    isNew: "新",
    empty: "没有可推荐的物品。",
    added: "事件已保存:",
    activated: "现在应答的版本:",
    building: "正在构建:",
    offline: "服务没有应答,正在重试。",
    state: (s) => `${{ frozen: "冻结", state: "状态", adaptive: "自适应" }[s.mode]} · ${s.version} · ${s.items.toLocaleString("zh")} 件物品 · ${s.users.toLocaleString("zh")} 位用户`,
  },
};

let language = localStorage.getItem("temporec.language") || (navigator.language.startsWith("zh") ? "zh" : "en");

export const t = (name) => TEXTS[language][name];

export const moment = (value) =>
  new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(value));

export function toggleLanguage() {
  language = language === "en" ? "zh" : "en";
  localStorage.setItem("temporec.language", language);
  translate();
}

export function translate() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const each of document.querySelectorAll("[data-t]")) each.textContent = t(each.dataset.t);
  for (const each of document.querySelectorAll("[data-label]")) each.setAttribute("aria-label", t(each.dataset.label));
  const button = document.getElementById("language");
  button.textContent = language === "zh" ? "English" : "中文";
  button.lang = language === "zh" ? "en" : "zh";
}
